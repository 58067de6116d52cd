"""The one ending of all runs: the first failed step, the report, the evidence, the message, the failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.core.report import Report
from backup_playbook.notifiers.message import Message, Severity
from backup_playbook.notifiers.runs import ERROR, KILLED, task_states, tell

if TYPE_CHECKING:
    from backup_playbook.connections.base import Access

FACTS = "facts"
"""XCom of a step, also of one that fails: what it has to say for the report, a dictionary."""

DONE = "done"
"""XCom of an ending, also of one that fails: what `finish` returns."""


class Steps(NamedTuple):
    """The steps of a run, in the order in which they can fail. carriers: those that return a hand-off.

    An ending keeps the ids of its steps, and not the operators.
    """

    ids: tuple[str, ...]
    carriers: frozenset[str]


def steps_of(operators: Sequence[BaseOperator]) -> Steps:
    """Return what an ending keeps of the steps that the DAG file names."""
    carriers = (step.task_id for step in operators if getattr(step, "carries", False))
    return Steps(tuple(step.task_id for step in operators), frozenset(carriers))


@dataclass(frozen=True)
class Ended:
    """The end of the steps of a run. failed: label of the first step that failed; empty when none did.

    problem: what it said. facts: what the steps left under FACTS, a later one over an earlier one. handoff: what the
    last step returned that returns one; None when none did.
    """

    failed: str
    problem: str
    facts: dict[str, Any]
    handoff: dict[str, Any] | None

    @property
    def rejected_by(self) -> str:
        """The person who has rejected the plan; empty when nobody has."""
        return str(self.facts.get("rejected_by", ""))

    @property
    def approved_by(self) -> str:
        """The person who has approved the plan; empty when nobody has, or none was to be."""
        return str(self.facts.get("approved_by", ""))


def leave_facts(context: Context, **facts: Any) -> None:
    """Say something for the report, whatever becomes of this step. Each call replaces what it said before."""
    context["ti"].xcom_push(FACTS, facts)


def ended(context: Context, steps: Steps, *, good: Sequence[str] = ("success", "skipped")) -> Ended:
    """Look how the steps of this run have ended. good: states of a step that has not failed.

    In a mapped task group: those of the same map index.
    """
    instance = context["ti"]
    states, index = task_states(instance), instance.map_index
    mapped = f"_{index}" if index >= 0 else ""
    failed = next((step for step in steps.ids if states.get(f"{step}{mapped}") not in good), "")

    def said(step: str, key: str = "return_value") -> Any:
        return instance.xcom_pull(step, key=key, map_indexes=index)

    facts: dict[str, Any] = {}
    handoff = None
    for step in steps.ids:
        left = said(step, FACTS) or {}
        facts |= left
        handoff = left.get("handoff") or (said(step) if step in steps.carriers else None) or handoff
    problem = str(said(failed, ERROR) or KILLED) if failed else ""
    label = failed.rpartition(".")[2] if mapped else failed
    return Ended(label, problem, facts, handoff)


def finish(
    context: Context,
    report: Report,
    access: Access,
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
