"""The future of a database that was replaced: it comes back, or it is dropped for good. Both are approved first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from backup_playbook.core.errors import GuardError
from backup_playbook.core.markdown import code
from backup_playbook.core.progress import human_age, human_bytes
from backup_playbook.core.report import Report
from backup_playbook.forms.dag_names import ROLLBACK
from backup_playbook.notifiers.runs import run_url
from backup_playbook.operators.approval import leave_plan
from backup_playbook.operators.base import HandoffOperator, SourceOperator, run_of
from backup_playbook.operators.handoffs import ReplacedDatabase
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.report import ended, finish, leave_facts, steps_of

if TYPE_CHECKING:
    from backup_playbook.engines.quarantine import Quarantine


class QuarantinePlan(SourceOperator):
    """Find the quarantine, and say what will become of it. Returns a `ReplacedDatabase`.

    :param wanted: its name, or `newest`.
    """

    carries = True
    template_fields: Sequence[str] = ("source", "wanted")

    def __init__(self, *, wanted: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.wanted = wanted

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and leave the plan."""
        from backup_playbook.core.promotion import quarantine_name

        now, replaced = datetime.now(UTC), self.access.live().find_quarantine(self.wanted)
        found = replaced.quarantine
        in_short = self.describe(found, now)
        leave_plan(context, in_short, in_short)
        return ReplacedDatabase(
            source=self.source,
            quarantine=found.name,
            quarantine_id=replaced.quarantine_id,
            comment=found.comment,
            live=found.live,
            live_id=replaced.live_id,
            next_quarantine=quarantine_name(found.live, now),
            planned_at=now,
        ).as_json()

    def describe(self, found: Quarantine, now: datetime) -> str:
        """Return what will happen, as Markdown. Raises GuardError when it must not."""
        raise NotImplementedError


class PlanRollback(QuarantinePlan):
    """Say what is lost when the quarantine comes back."""

    def describe(self, found: Quarantine, now: datetime) -> str:
        """Return what will happen."""
        return (
            f"`{found.name}` ({human_bytes(found.bytes)}), which {found.by.partition('|')[0]} replaced "
            f"{human_age(now - found.quarantined_at)} ago, becomes {found.live} again. What was written to "
            f"{found.live} since then is lost to its users; that database becomes a quarantine itself, and can come "
            f"back in the same way. {self.access.live().words.effect}"
        )


class PlanRelease(QuarantinePlan):
    """See that nobody can need the quarantine any more."""

    def describe(self, found: Quarantine, now: datetime) -> str:
        """Return what will happen. Raises GuardError while no later backup is proven."""
        proof = self.access.backups.proven(now)
        if proof is None or proof.taken_at <= found.quarantined_at:
            raise GuardError(
                f"{found.name} is kept: no backup of {self.source} that was taken after "
                f"{found.quarantined_at:%Y-%m-%d %H:%M:%S} UTC, when it was replaced, is proven by a restore.",
                "Run nightly_database_backup and monthly_restore_test for this source; then clear this task.",
            )
        return (
            f"`{found.name}` ({human_bytes(found.bytes)}), replaced {human_age(now - found.quarantined_at)} ago, is "
            f"dropped for good. {found.live} stays as it is; its backup {proof.backup_id} is proven."
        )


class BringBackQuarantine(ChangesProduction, HandoffOperator[ReplacedDatabase]):
    """Exchange the live database and the quarantine. Can be repeated."""

    template_fields: Sequence[str] = ("given", "approval")
    model = ReplacedDatabase

    def execute(self, context: Context) -> None:
        """Exchange them."""
        from backup_playbook.engines.live_database import Exchange
        from backup_playbook.engines.quarantine import Quarantine

        known, now, by = self.handoff, datetime.now(UTC), run_of(context)
        exchange = Exchange(
            live=known.live,
            live_id=known.live_id,
            candidate=known.quarantine,
            candidate_id=known.quarantine_id,
            quarantine=known.next_quarantine,
            by=by,
            at=now,
            returning=Quarantine(known.quarantine, self.source, known.live, now, by, known.comment),
        )
        done = self.access.live().promote(exchange)
        leave_facts(
            context,
            headline=f"{self.source} is what it was before the recovery",
            in_short=f"`{known.quarantine}` is {known.live} again; the exchange took {done.unreachable_seconds:.2f} s. "
            f"What was live is `{known.next_quarantine}`.",
            undo=f"run {ROLLBACK} with the quarantine {code(known.next_quarantine)}",
        )


class DropQuarantine(ChangesProduction, HandoffOperator[ReplacedDatabase]):
    """Drop it for good."""

    template_fields: Sequence[str] = ("given", "approval")
    model = ReplacedDatabase

    def execute(self, context: Context) -> None:
        """Drop it."""
        name = self.handoff.quarantine
        self.access.live().release(name)
        leave_facts(context, headline=f"A quarantine of {self.source} was released", in_short=f"`{name}` is dropped.")


class DocumentQuarantine(SourceOperator):
    """Write the report of what became of a quarantine, and tell people. Fails when a step did.

    :param steps: the steps of the run, in their order.
    :param kind: `rollback` or `release`.
    """

    def __init__(self, *, steps: Sequence[BaseOperator], kind: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.steps = steps_of(steps)
        self.kind = kind

    def execute(self, context: Context) -> dict[str, Any]:
        """Write down what became of the run."""
        end, instance, now = ended(context, self.steps), context["ti"], datetime.now(UTC)
        known = ReplacedDatabase.read(end.handoff) if end.handoff else None
        name = known.quarantine if known else "no quarantine"
        headline, in_short = end.facts.get("headline", ""), end.facts.get("in_short", "")
        if end.failed:
            headline, in_short = f"The {self.kind} of {name} of {self.source} failed at {end.failed}", end.problem
        elif end.rejected_by:
            headline = f"The {self.kind} of {name} of {self.source} was rejected; nothing was touched"
            in_short = f"Rejected by {end.rejected_by}."
        report = Report(
            kind=self.kind,
            source=self.source,
            headline=headline,
            in_short=in_short,
            failed_step=end.failed,
            problem=end.problem,
            repository=self.access.repositories[0],
            run_id=instance.run_id,
            run_url=run_url(instance.dag_id, instance.run_id),
            started_at=known.planned_at if known else now,
            finished_at=now,
            approved_by=end.approved_by,
            undo=end.facts.get("undo", ""),
            details={"handoff": known.as_json() if known else None},
        )
        remedy = "open the red task, correct what its error names, and clear it." if end.failed else ""
        return finish(context, report, self.access, remedy=remedy)
