"""The one ending of all runs: the first failed step, the report, the evidence, the message, the failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.core.report import Report
from backup_playbook.notifiers.message import Message, Severity
from backup_playbook.notifiers.runs import ERROR, KILLED, task_states, tell

if TYPE_CHECKING:
    from backup_playbook.connections.base import Access

FACTS = "facts"
"""XCom of a step, also of one that fails: what it has to say for the report, a dictionary."""


@dataclass(frozen=True)
class Ended:
    """The end of the steps of a run. failed: label of the first step that failed; empty when none did.

    problem: what it said. facts: what the steps left under FACTS, a later one over an earlier one.
    returned: what the last step that succeeded returned, of those that return something.
    """

    failed: str
    problem: str
    facts: dict[str, Any]
    returned: Any


def task_ids(steps: Sequence[BaseOperator]) -> tuple[str, ...]:
    """Return the ids of steps, in the order in which they can fail: an operator keeps these, and not the steps."""
    return tuple(step.task_id for step in steps)


def leave_facts(context: Context, **facts: Any) -> None:
    """Say something for the report, whatever becomes of this step."""
    context["ti"].xcom_push(FACTS, facts)


def ended(context: Context, steps: Sequence[str], *, good: Sequence[str] = ("success", "skipped")) -> Ended:
    """Look how the steps of this run have ended. steps: task ids. good: states of a step that has not failed.

    In a mapped task group: those of the same map index.
    """
    instance = context["ti"]
    states, index = task_states(instance), instance.map_index
    mapped = f"_{index}" if index >= 0 else ""
    failed = next((step for step in steps if states.get(f"{step}{mapped}") not in good), "")

    def said(step: str, key: str = "return_value") -> Any:
        return instance.xcom_pull(step, key=key, map_indexes=index)

    facts: dict[str, Any] = {}
    for step in steps:
        facts |= said(step, FACTS) or {}
    done = [one for step in steps if (one := said(step)) is not None]
    problem = str(said(failed, ERROR) or KILLED) if failed else ""
    return Ended(failed.rpartition(".")[2], problem, facts, done[-1] if done else None)


def finish(
    context: Context,
    report: Report,
    access: Access[Any],
    *,
    write_evidence: Callable[[str], list[str]] | None = None,
    severity: Severity | None = None,
    remedy: str = "",
    announce: bool = True,
) -> dict[str, Any]:
    """Store the report, write the evidence, tell people, and fail when a step did.

    write_evidence: takes the address of the report; returns what could not be written, a sentence each. severity: of
    the message; by default `info`, or `high` for a failure. remedy: for the message. announce: False where people are
    told of many at once. Returns `report` (address), `in_short`, `remarks` and `passed`.
    """
    address, lost = access.backups.keep_report(report.repository, report.name, report.to_json(), report.to_markdown())
    missing = [*([lost] if lost else []), *(write_evidence(address) if write_evidence else [])]
    remarks = [*report.remarks, *missing]
    lines = [report.in_short, *remarks]
    lines += [f"To undo: {report.undo}"] if report.undo else []
    lines += [f"Report: {address}"] if address else []
    message = Message(
        severity=severity or ("info" if report.passed else "high"),
        headline=report.headline,
        lines=tuple(filter(None, lines)),
        remedy=remedy,
        link=report.run_url,
    )
    if announce:
        tell(context["ti"], message)
    done = {"report": address, "in_short": report.in_short, "remarks": remarks, "passed": report.passed}
    context["ti"].xcom_push(DONE, {"source": report.source, **done})
    if not report.passed:
        raise AirflowFailException("\n".join([report.headline, *message.paragraphs]))
    return {"source": report.source, **done}


DONE = "done"
"""XCom of an ending, also of one that fails: what `finish` returns."""
