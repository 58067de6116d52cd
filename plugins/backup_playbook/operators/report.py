"""The one ending of all runs: the first failed step, the report, the evidence, the message, the failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.core.report import Report
from backup_playbook.notifiers.message import Message, Severity
from backup_playbook.notifiers.runs import ERROR, KILLED, run_url, task_states, tell
from backup_playbook.operators.base import SourceOperator
from backup_playbook.operators.handoffs import Handoff, Restoring

FACTS = "facts"
"""XCom of a step, also of one that fails: what it has to say for the report, a dictionary."""

DONE = "done"
"""XCom of an ending, also of one that fails: what it returns."""


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

    def waited(self, since: datetime) -> timedelta:
        """Return how long a person took to approve what was planned then; nothing when nobody was asked."""
        answered = self.facts.get("approved_at")
        return max(datetime.fromisoformat(answered) - since, timedelta()) if answered else timedelta()


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
        left = dict(said(step, FACTS) or {})
        handoff = left.pop("handoff", None) or (said(step) if step in steps.carriers else None) or handoff
        facts |= left
    problem = str(said(failed, ERROR) or KILLED) if failed else ""
    label = failed.rpartition(".")[2] if mapped else failed
    return Ended(label, problem, facts, handoff)


class Ending(SourceOperator):
    """End a run: store its report, write the evidence, tell people, and fail when a step did.

    Returns, and leaves under DONE also when it fails: `source`, `report` (address), `in_short`, `remarks`, `passed`.

    :param steps: the steps of the run, in the order in which they can fail.
    """

    kind: str = ""
    """The kind of the report, unless `describe` tells it."""
    model: ClassVar[type[Handoff]] = Restoring
    good: ClassVar[Sequence[str]] = ("success", "skipped")
    """States of a step that has not failed."""
    remedy: ClassVar[str] = "open the red task, correct what its error names, and clear it."
    announces: ClassVar[bool] = True
    """Whether people are told; of many runs they are told at once."""

    def __init__(self, *, steps: Sequence[BaseOperator], **arguments: Any) -> None:
        super().__init__(**{"retries": 0, "trigger_rule": "all_done", **arguments})
        self.steps = steps_of(steps)

    def execute(self, context: Context) -> dict[str, Any]:
        """Write down what became of the run."""
        instance, now = context["ti"], datetime.now(UTC)
        end = ended(context, self.steps, good=self.good)
        known: Any = self.model.read(end.handoff) if end.handoff else None
        common = {
            "kind": self.kind,
            "source": self.source,
            "failed_step": end.failed,
            "problem": end.problem,
            "backup_id": getattr(known, "backup_id", ""),
            "taken_at": getattr(known, "taken_at", None),
            "repository": getattr(known, "repository", self.access.repositories[0]),
            "run_id": instance.run_id,
            "run_url": run_url(instance.dag_id, instance.run_id),
            "started_at": getattr(known, "started_at", now),
            "finished_at": now,
            "approved_by": end.approved_by,
            "phases": getattr(known, "phases", {}),
            "rto_objective": self.config.objectives_of(self.source).rto,
            "details": {"handoff": known and known.as_json(), **end.facts},
        }
        report = Report(**common | self.describe(known, end, now))
        backups = self.access.backups
        address, lost = backups.keep_report(report.repository, report.name, report.to_json(), report.to_markdown())
        missing = [*([lost] if lost else []), *(self.write_evidence(known, end, report, address) if known else [])]
        remarks = [*report.remarks, *missing]
        message = Message(
            severity=self.severity(end),
            headline=report.headline,
            lines=tuple(filter(None, [report.in_short, *remarks, _undo(report), address and f"Report: {address}"])),
            remedy=self.remedy_of(end),
            link=report.run_url,
        )
        if self.announces:
            tell(instance, message)
        told = {"source": self.source, "in_short": report.in_short, "remarks": remarks}
        done = {**told, "report": address, "passed": report.passed}
        instance.xcom_push(DONE, done)
        if not report.passed:
            raise AirflowFailException("\n".join([report.headline, *message.paragraphs]))
        return done

    def describe(self, known: Any, end: Ended, now: datetime) -> dict[str, Any]:
        """Return what the report says beyond what is common to all: at least `headline`. known: None at the worst."""
        raise NotImplementedError

    def write_evidence(self, known: Any, end: Ended, report: Report, address: str) -> list[str]:  # noqa: ARG002
        """Write evidence beside the backup; return what could not be written, a sentence each."""
        return []

    def severity(self, end: Ended) -> Severity:
        """Return how grave it is for people."""
        return "high" if end.failed else "info"

    def remedy_of(self, end: Ended) -> str:
        """Return what people can do; empty when nothing is to be done."""
        return self.remedy if end.failed else ""


def _undo(report: Report) -> str:
    return f"To undo: {report.undo}" if report.undo else ""
