"""The future of a database that was replaced: it comes back, or it is dropped for good. Both are approved first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.errors import GuardError
from backup_playbook.core.markdown import code
from backup_playbook.core.progress import human_age, human_bytes
from backup_playbook.forms.dag_names import ROLLBACK, dags_of
from backup_playbook.operators.approval import leave_plan
from backup_playbook.operators.base import HandoffOperator, SourceOperator, run_of
from backup_playbook.operators.handoffs import ReplacedDatabase
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.report import Ended, Ending, leave_facts

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
            started_at=now,
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
        proof, dags = self.access.backups.proven(now), dags_of(self.config, self.source)
        if proof is None or proof.taken_at <= found.quarantined_at:
            raise GuardError(
                f"{found.name} is kept: no backup of {self.source} that was taken after "
                f"{found.quarantined_at:%Y-%m-%d %H:%M:%S} UTC, when it was replaced, is proven by a restore.",
                f"Run {dags.back_up} and {dags.prove} for this source; then clear this task.",
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


class DocumentQuarantine(Ending):
    """End a rollback or a release: its report, and the message.

    :param steps: the steps of the run, in the order in which they can fail.
    :param kind: `rollback` or `release`.
    """

    model = ReplacedDatabase

    def __init__(self, *, kind: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.kind = kind

    def describe(self, known: ReplacedDatabase | None, end: Ended, now: datetime) -> dict[str, Any]:  # noqa: ARG002
        """Return what the report says."""
        run = f"The {self.kind} of {known.quarantine if known else 'no quarantine'} of {self.source}"
        if end.failed:
            return {"headline": f"{run} failed at {end.failed}", "in_short": end.problem}
        if end.rejected_by:
            return {"headline": f"{run} was rejected by {end.rejected_by}; nothing was touched"}
        return {name: end.facts.get(name, "") for name in ("headline", "in_short", "undo")}
