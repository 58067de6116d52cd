"""The steps of a recovery of production: the plan, the copy beside it, the exchange, maintenance mode around it.

What `plan_recovery` returns goes from step to step; nothing before `promote_copy` touches the live database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast

from airflow.sdk import Context, XComArg

from backup_playbook.dag_parts.approval import APPROVE, CHOICES, CHOSEN, IN_SHORT, PLAN
from backup_playbook.operators.assessment import RunApplicationChecks
from backup_playbook.operators.base import PlaybookOperator, is_true
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.restore import (
    CreateScratch,
    DropScratch,
    ProveRestore,
    RestoreBackup,
    RestoreStep,
    TestedBackup,
)

if TYPE_CHECKING:
    from backup_playbook.core.recovery_plan import RecoveryPlan
    from backup_playbook.core.restore_plan import RestorePlan
    from backup_playbook.engines.contract import ScratchTarget
    from backup_playbook.engines.mongodb.promotion import MongoPromotion
    from backup_playbook.engines.postgres.promotion import Promotion


log = logging.getLogger(__name__)


class Exchange(TypedDict):
    """promoted_at: ISO 8601."""

    promoted_at: str
    unreachable_seconds: float
    sessions_ended: int


class Recovery(TestedBackup):
    """What goes from step to step. candidate_oid and exchange: once known. MongoDB has no oids: 0."""

    live: str
    live_oid: int
    quarantine: str
    planned_at: str
    candidate_oid: int
    exchange: Exchange | None


class RecoveryStep(RestoreStep):
    """A step of a recovery, whose scratch is beside the live database."""

    @property
    def recovery(self) -> Recovery:
        return cast("Recovery", self.backup)

    def scratch(self, name: str = "", owner: str = "") -> ScratchTarget:
        from backup_playbook.dag_parts.recovery import production_scratch

        leave_out = self.tested.get("leave_out", ())
        return production_scratch(self.config, self.source, name or self.tested["scratch"], owner, leave_out)

    def promotion(self, context: Context) -> Promotion | MongoPromotion:
        from backup_playbook.dag_parts.recovery import exchange_of
        from backup_playbook.engines.postgres.swap import Swap

        known = self.recovery
        swap = Swap(known["live"], known["live_oid"], known["scratch"], known["candidate_oid"], known["quarantine"])
        by = f"{context['ti'].dag_id}|{context['run_id']}"
        return exchange_of(self.config, self.source, swap, by, datetime.now(UTC))


class PlanRecovery(RecoveryStep):
    """Look at production and at the backup; write down what will happen. Fails when it could not be done.

    choose: the person who approves takes one of the newest backups. allow_unverified: also of those that nobody has
    checked. Returns a `Recovery`, of the backup that was chosen before, or of the newest.
    """

    template_fields: Sequence[str] = ("backup", "choose", "allow_unverified")

    def __init__(self, *, choose: bool | str = False, allow_unverified: bool | str = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.choose = choose
        self.allow_unverified = allow_unverified

    def execute(self, context: Context) -> Recovery:
        from backup_playbook.core.promotion import quarantine_name
        from backup_playbook.dag_parts.recovery import live_database
        from backup_playbook.dag_parts.recovery_planning import draw_up_plan, look_at_live, refuse_a_second_recovery

        now = datetime.now(UTC)
        live = live_database(self.config, self.source)
        refuse_a_second_recovery(self.scratch("unused").host, self.source, context)
        quarantine, leave_out = quarantine_name(live, now), list(context["params"].get("leave_out") or [])
        with self.reader() as reader:
            manifest = reader.manifest
            oid, remarks = look_at_live(self.config, reader, live, quarantine, leave_out)
        remarks = tuple(filter(None, (self.tested["remark"], *remarks)))
        choose, unverified = is_true(self.choose), is_true(self.allow_unverified)
        plan = draw_up_plan(
            self.config, self.tested, manifest, live, quarantine, remarks, choose=choose, unverified=unverified
        )
        show_plan(context, plan)
        planned = Recovery(
            **self.tested,
            live=live,
            live_oid=oid,
            quarantine=quarantine,
            planned_at=now.isoformat(),
            candidate_oid=0,
            exchange=None,
        )
        planned["leave_out"] = leave_out
        offered = [one for one in plan.candidates if one.option]
        # a copy of a database has the seal of its origin
        choices = {
            one.option: {
                **planned,
                "backup_id": one.backup_id,
                "seal": one.seal,
                "origin": one.seal,
                "taken_at": one.taken_at.isoformat(),
            }
            for one in offered
        }
        context["ti"].xcom_push(CHOICES, choices if choose else {APPROVE: planned})
        return planned


def show_plan(context: Context, plan: RecoveryPlan | RestorePlan) -> None:
    """In the log, and to the tasks that ask people and tell them."""
    now = datetime.now(UTC)
    log.info("%s", plan.to_markdown(now))
    context["ti"].xcom_push(PLAN, plan.to_markdown(now))
    context["ti"].xcom_push(IN_SHORT, plan.in_short(now))


class ApprovedStep(ChangesProduction, RecoveryStep):
    """A step that does nothing without an answer. backup: what was planned; the answer may have chosen another one."""

    template_fields: Sequence[str] = ("backup", "approval")

    @property
    def tested(self) -> TestedBackup:
        chosen = (self.approval or {}).get(CHOSEN)
        return cast("TestedBackup", chosen or super().tested)

    @property
    def recovery(self) -> Recovery:
        return cast("Recovery", self.tested)


class SwitchMaintenanceOn(ApprovedStep):
    """Tell the application to refuse its users, where the source's configuration says how."""

    def execute(self, context: Context) -> str:  # noqa: ARG002 - passed by name
        from backup_playbook.dag_parts.maintenance import switch
        from backup_playbook.dag_parts.recovery import recovery_settings

        maintenance = recovery_settings(self.config, self.source).maintenance
        if maintenance is None:
            self.log.warning("%s has no maintenance mode: its application will meet errors.", self.source)
            return ""
        started = datetime.now(UTC).isoformat()
        switch(maintenance, on=True, cancellation=self.cancellation)
        return started


class CreateCopy(ApprovedStep, CreateScratch):
    """Make the database beside the live one that the backup is restored into."""


class RestoreCopy(RecoveryStep, RestoreBackup):
    """Fill it, with owners and grants."""


class ProveCopy(RecoveryStep, ProveRestore):
    """Compare it with the backup; adds which database it was that is proven."""

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.engines.postgres.scratch import ScratchDatabase, read_identity

        proven, scratch = super().execute(context), self.scratch()
        if isinstance(scratch, ScratchDatabase):  # MongoDB's writes it down beside the collections
            proven = cast("TestedBackup", {**proven, "candidate_oid": read_identity(scratch.server).database_oid})
        return proven


class CheckCopy(RecoveryStep, RunApplicationChecks):
    """Run the application's checks on the copy. What they write, they have to roll back: it goes live afterwards."""


class PromoteCopy(ChangesProduction, RecoveryStep):
    """Exchange the live database and the proven copy; adds the `Exchange`. Can be repeated."""

    template_fields: Sequence[str] = ("backup", "approval")

    def execute(self, context: Context) -> Recovery:
        started = time.monotonic()
        self.require_proof()
        promoted = self.promotion(context).run()
        exchange = Exchange(
            promoted_at=datetime.now(UTC).isoformat(),
            unreachable_seconds=promoted.unreachable_seconds,
            sessions_ended=promoted.sessions_ended,
        )
        self.log.info("%s is the restored copy; %s.", self.recovery["live"], promoted)
        phases = {**self.tested["phases"], "promote": time.monotonic() - started}
        return cast("Recovery", {**self.recovery, "phases": phases, "exchange": exchange})


class SwitchMaintenanceOff(RecoveryStep):
    """Let the users in again: after the exchange, and, when a step before it failed, if production can be used.

    backup: what `plan_recovery` returned. Also opens a database that a killed worker left closed.
    """

    def execute(self, context: Context) -> str:
        from airflow.sdk.exceptions import AirflowSkipException

        from backup_playbook.dag_parts.recovery_ending import reopen_production, resume_production

        if not self.tested:
            raise AirflowSkipException("Nothing was planned.")
        proven = context["ti"].xcom_pull("prove")
        if proven and not context["ti"].xcom_pull("promote_copy"):
            self.backup = proven
            reopen_production(self.promotion(context), context)
        return resume_production(self.config, self.recovery, context, self.cancellation)


class CollectEvidence(PlaybookOperator):
    """Compare the quarantine with what took its place, for those who look for the cause. Returns what it found."""

    template_fields: Sequence[str] = ("backup",)

    def __init__(self, *, backup: XComArg, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.backup: Any = backup

    @property
    def source(self) -> str:  # type: ignore[override]
        return str(self.backup["source"])

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        from backup_playbook.dag_parts.recovery import production_server
        from backup_playbook.engines.postgres.investigation import (
            amcheck,
            log_excerpt,
            opened,
            read_every_table,
            what_would_run,
        )

        server = production_server(self.config, self.source)
        excerpt = log_excerpt(server)
        logged = excerpt.get("lines") or excerpt["why"]
        if running := what_would_run(server, self.backup["quarantine"]):
            why = f"not asked: opened, it would go on with its subscriptions {', '.join(running)}"
            self.log.warning("The quarantine was not looked into; pg_amcheck: %s.", why)
            return {"differences": [], "amcheck": why, "log": logged}
        after = read_every_table(server.at(self.backup["live"]), whole=True).rows
        with opened(server, self.backup["quarantine"]) as quarantine:
            before = read_every_table(quarantine, whole=True)
            damage = amcheck(quarantine, self.cancellation)
        for table, why in before.unreadable.items():
            self.log.warning("%s cannot be read in the quarantine: %s", table, why)
        found = {**before.rows, **before.unreadable}
        differing = [
            {"table": table, "before": found.get(table), "after": after.get(table)}
            for table in sorted(found.keys() | after.keys())
            if found.get(table) != after.get(table)
        ]
        self.log.info("amcheck: %s. Tables that differ: %s", damage, differing)
        return {"differences": differing, "amcheck": damage, "log": logged}


class DropCopy(RecoveryStep, DropScratch):
    """Remove the copy if it was not promoted; a promoted one has another name, and is not touched."""
