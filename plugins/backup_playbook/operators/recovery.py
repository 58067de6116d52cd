"""The steps that replace production: the plan, the exchange, the maintenance mode around it.

Nothing before `PromoteCopy` touches the live database.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context, XComArg
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.promotion import quarantine_name
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url, task_states
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.approval import APPROVE, leave_plan
from backup_playbook.operators.base import is_true, run_of, texts
from backup_playbook.operators.handoffs import Exchanged, Replacing, Restoring
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.report import leave_facts
from backup_playbook.operators.restore import RestoreStep, require_proof

if TYPE_CHECKING:
    from backup_playbook.engines.live_database import Exchange


class PlanRecovery(RestoreStep):
    """Look at production and at the backup; write down what will happen. Fails when it could not be done.

    :param choose: the person who approves takes one of the newest backups.
    :param allow_unverified: also of those that nobody has checked.
    :param leave_out: definitions that the copy goes without.
    """

    template_fields: Sequence[str] = ("given", "choose", "allow_unverified", "leave_out")

    def __init__(
        self,
        *,
        choose: bool | str = False,
        allow_unverified: bool | str = False,
        leave_out: Sequence[str] | str = (),
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.choose = choose
        self.allow_unverified = allow_unverified
        self.leave_out = leave_out

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan the recovery; return the hand-off with what replaces what."""
        return plan_recovery(
            self,
            context,
            self.handoff.model_copy(update={"leave_out": texts(self.leave_out)}),
            choose=is_true(self.choose),
            allow_unverified=is_true(self.allow_unverified),
        )


def plan_recovery(
    step: RestoreStep, context: Context, known: Restoring, *, choose: bool = False, allow_unverified: bool = False
) -> dict[str, Any]:
    """Leave the plan of a recovery; return the hand-off with what replaces what. Raises RestoreError, GuardError."""
    from backup_playbook.operators.planning import Choice, recovery_plan, refuse_a_second_recovery

    now, live = datetime.now(UTC), step.access.live()
    refuse_a_second_recovery(live.host, step.source, context)
    quarantine = quarantine_name(live.name, now)
    with step.reader() as reader:
        manifest, found = reader.manifest, live.inspect(reader, quarantine, known.leave_out)
    replacing = Replacing(live=live.name, live_id=found.live_id, quarantine=quarantine, planned_at=now)
    plan = recovery_plan(step.access, known, replacing, manifest, found.remarks, Choice(choose, allow_unverified))
    planned = known.model_copy(update={"replacing": replacing})
    choices = {
        one.option: planned.adding(backup_id=one.backup_id, seal=one.seal, origin=one.seal, taken_at=one.taken_at)
        for one in plan.candidates
        if one.option
    }
    page = plan.to_markdown(now)
    step.log.info("%s", page)
    choices = choices if choose else {APPROVE: planned.as_json()}
    leave_plan(context, page, plan.in_short(now), choices=choices)
    return planned.as_json()


class SwitchMaintenanceOn(ChangesProduction, RestoreStep):
    """Tell the application to refuse its users, where the source's configuration says how."""

    carries = False
    template_fields: Sequence[str] = ("given", "approval")

    def execute(self, context: Context) -> None:
        """Switch it on."""
        from backup_playbook.connections.maintenance import switch

        maintenance = self.access.settings.recovery.maintenance
        if maintenance is None:
            self.log.warning("%s has no maintenance mode: its application will meet errors.", self.source)
            return
        leave_facts(context, maintenance_on=datetime.now(UTC).isoformat())
        switch(maintenance, on=True, cancellation=self.cancellation)


class PromoteCopy(ChangesProduction, RestoreStep):
    """Exchange the live database and the proven copy; add the `Exchanged`. Can be repeated."""

    template_fields: Sequence[str] = ("given", "approval")

    def execute(self, context: Context) -> dict[str, Any]:
        """Exchange them; return the hand-off with how it went."""
        started, known = time.monotonic(), self.handoff
        require_proof(known)
        assert known.replacing
        leave_facts(context, exchange_begun=True)
        promoted = self.access.live().promote(exchange_of(context, known))
        exchanged = Exchanged(
            promoted_at=datetime.now(UTC),
            unreachable_seconds=promoted.unreachable_seconds,
            sessions_ended=promoted.sessions_ended,
        )
        self.log.info("%s is the restored copy; %s.", known.replacing.live, promoted)
        return known.adding(
            phases=known.with_phase("promote", time.monotonic() - started),
            replacing=known.replacing.model_copy(update={"exchanged": exchanged}),
        )


def exchange_of(context: Context, known: Restoring) -> Exchange:
    """Return the exchange that was planned for a copy."""
    from backup_playbook.engines.live_database import Exchange

    assert known.replacing
    return Exchange(
        live=known.replacing.live,
        live_id=known.replacing.live_id,
        candidate=known.scratch,
        candidate_id=known.replacing.candidate_id,
        quarantine=known.replacing.quarantine,
        by=run_of(context),
        at=datetime.now(UTC),
    )


class SwitchMaintenanceOff(RestoreStep):
    """End the maintenance mode: after the exchange, and, when a step before it failed, if production can be used.

    Also opens a database that a killed worker left closed.

    :param handoff: what was planned.
    :param switched_on: the step that switches it on.
    :param proven: what the step returned that proves the copy.
    :param promoted: what the exchange returned.
    """

    carries = False
    template_fields: Sequence[str] = ("given", "proven", "promoted")

    def __init__(self, *, switched_on: Any, proven: XComArg, promoted: XComArg, **arguments: Any) -> None:
        super().__init__(**{"trigger_rule": "all_done", **arguments})
        self.switched_on = switched_on.task_id
        self.proven: Any = proven
        self.promoted: Any = promoted

    def execute(self, context: Context) -> None:
        """Open production, and switch the mode off."""
        from backup_playbook.connections.maintenance import switch

        if not self.given:
            raise AirflowSkipException("Nothing was planned.")
        facts: dict[str, Any] = {}
        maintenance = self.access.settings.recovery.maintenance
        tried = bool(self.proven and not self.promoted)
        on = task_states(context["ti"]).get(self.switched_on) in ("success", "failed")
        try:
            if tried:
                self._reopen(context, facts)
            if not self.promoted and (tried or on):
                self.access.live().require_usable()
            if on and maintenance:
                switch(maintenance, on=False, cancellation=self.cancellation)
                facts["maintenance_off"] = datetime.now(UTC).isoformat()
        except PlaybookError as error:
            if on and maintenance:
                facts["left_on"] = error.what
                self._tell(context, error)
            raise AirflowFailException(str(error)) from error
        finally:
            leave_facts(context, **facts)
        if not on:
            raise AirflowSkipException("The maintenance mode was not switched on.")

    def _reopen(self, context: Context, facts: dict[str, Any]) -> None:
        """Mend a failed exchange: a killed worker may have left it closed or half done, or have completed it."""
        try:
            facts["state"] = self.access.live().reopen(exchange_of(context, Restoring.read(self.proven)))
        except PlaybookError as error:
            self.log.warning("%s", error)  # whether production can be used is asked next

    def _tell(self, context: Context, error: PlaybookError) -> None:
        message = Message(
            severity="critical",
            headline=f"Maintenance mode of {self.source} is still on: its users are refused",
            lines=(error.what,),
            remedy=error.remedy,
            link=run_url(context["ti"].dag_id, context["ti"].run_id),
        )
        deliver(message)


class CollectEvidence(RestoreStep):
    """Compare the quarantine with what replaced it, for those who look for the cause."""

    carries = False

    def execute(self, context: Context) -> None:
        """Look, and leave what is found for the report."""
        replacing = self.handoff.replacing
        assert replacing
        found = self.access.live().investigate(replacing.live, replacing.quarantine, self.cancellation)
        differences = [dict(one) for one in found.differences]
        self.log.info("amcheck: %s. Tables that differ: %s", found.amcheck or "-", differences)
        leave_facts(context, differences=differences, amcheck=found.amcheck, log=found.log)
