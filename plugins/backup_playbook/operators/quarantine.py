"""What happens to a database that was replaced: it comes back, or it is dropped for good. Both are approved first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast

from airflow.sdk import Context, XComArg

from backup_playbook.core.errors import GuardError
from backup_playbook.core.progress import human_age, human_bytes
from backup_playbook.dag_parts.approval import IN_SHORT, PLAN
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url, tell
from backup_playbook.operators.base import SourceOperator
from backup_playbook.operators.production import ChangesProduction

if TYPE_CHECKING:
    from backup_playbook.engines.quarantine import Quarantine


EFFECT = {"postgres": "All connections are ended.", "mongodb": "Its collections are renamed, one after another."}


class Replaced(TypedDict):
    """A quarantine, and what has its name now. next_quarantine: what that becomes when they are exchanged.

    The oids: 0 for MongoDB, which has none.
    """

    source: str
    quarantine: str
    quarantine_oid: int
    comment: str | None
    live: str
    live_oid: int
    next_quarantine: str


class QuarantinePlan(SourceOperator):
    """Find the quarantine, and say what will become of it. wanted: its name, or `newest`. Returns a `Replaced`."""

    template_fields: Sequence[str] = ("source", "wanted")

    def __init__(self, *, source: str, wanted: str, **arguments: Any) -> None:
        super().__init__(source=source, **arguments)
        self.wanted = wanted

    def execute(self, context: Context) -> Replaced:
        from backup_playbook.core.promotion import quarantine_name
        from backup_playbook.dag_parts.quarantines import find_quarantine

        now = datetime.now(UTC)
        found, kept, live = find_quarantine(self.config, self.source, self.wanted)
        in_short = self.describe(found, now)
        self.log.info("%s", in_short)
        context["ti"].xcom_push(PLAN, in_short)
        context["ti"].xcom_push(IN_SHORT, in_short)
        return Replaced(
            source=self.source,
            quarantine=found.name,
            quarantine_oid=kept,
            comment=found.comment,
            live=found.live,
            live_oid=live,
            next_quarantine=quarantine_name(found.live, now),
        )

    def describe(self, found: Quarantine, now: datetime) -> str:
        """What will happen, as Markdown. Raises GuardError when it must not."""
        raise NotImplementedError


class PlanRollback(QuarantinePlan):
    """Say what is lost when the quarantine comes back."""

    def describe(self, found: Quarantine, now: datetime) -> str:
        return (
            f"`{found.name}` ({human_bytes(found.bytes)}), which {found.by.partition('|')[0]} replaced "
            f"{human_age(now - found.quarantined_at)} ago, becomes {found.live} again. What was written to "
            f"{found.live} since then is lost to its users; that database becomes a quarantine itself, and can come "
            f"back in the same way. {EFFECT[self.config.source(self.source).engine]}"
        )


class PlanRelease(QuarantinePlan):
    """See that nobody can need the quarantine any more."""

    def describe(self, found: Quarantine, now: datetime) -> str:
        from backup_playbook.dag_parts.recovery import newest_proof

        proof = newest_proof(self.config, self.source)
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


class QuarantineStep(ChangesProduction):
    """replaced: what the plan returned."""

    template_fields: Sequence[str] = ("replaced", "approval")

    def __init__(self, *, replaced: XComArg, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.replaced = replaced

    @property
    def known(self) -> Replaced:
        return cast("Replaced", self.replaced)

    @property
    def source(self) -> str:  # type: ignore[override]
        return self.known["source"]

    def tell(self, context: Context, headline: str, line: str) -> None:
        instance = context["ti"]
        link = run_url(instance.dag_id, instance.run_id)
        tell(instance, Message(severity="info", headline=headline, lines=(line,), link=link))


class BringBackQuarantine(QuarantineStep):
    """Exchange the live database and the quarantine. Can be repeated."""

    def execute(self, context: Context) -> None:
        from backup_playbook.dag_parts.recovery import exchange_of
        from backup_playbook.engines.postgres.swap import Swap
        from backup_playbook.engines.quarantine import Quarantine

        known, now = self.known, datetime.now(UTC)
        by = f"{context['ti'].dag_id}|{context['run_id']}"
        swap = Swap(
            known["live"], known["live_oid"], known["quarantine"], known["quarantine_oid"], known["next_quarantine"]
        )
        returning = Quarantine(known["quarantine"], self.source, known["live"], now, by, known["comment"])
        done = exchange_of(self.config, self.source, swap, by, now, returning).run()
        self.tell(
            context,
            f"{self.source} is what it was before the recovery",
            f"`{known['quarantine']}` is {known['live']} again; the exchange took {done.unreachable_seconds:.2f} s. "
            f"What was live is `{known['next_quarantine']}`.",
        )


class DropQuarantine(QuarantineStep):
    """Drop it for good."""

    def execute(self, context: Context) -> None:
        from backup_playbook.dag_parts.quarantines import drop_quarantine

        name = self.known["quarantine"]
        drop_quarantine(self.config, self.source, name)
        self.tell(context, f"A quarantine of {self.source} was released", f"`{name}` is dropped.")
