"""The end of a recovery, whatever became of it: production opened, users let in, and what happened written down."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from backup_playbook.config import MongoSource, PlaybookConfig, load_config
from backup_playbook.core.errors import GuardError, PlaybookError
from backup_playbook.core.recovery_report import RecoveryReport
from backup_playbook.core.words import ExchangeWords, counted
from backup_playbook.dag_parts.approval import CHOSEN, approved_by
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import first_failure, run_url, task_states, tell
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.restore import DAMAGED
from backup_playbook.streams.processes import Cancellation

if TYPE_CHECKING:
    from backup_playbook.engines.mongodb.promotion import MongoPromotion
    from backup_playbook.engines.postgres.promotion import Promotion
    from backup_playbook.operators.recovery import Recovery

log = logging.getLogger(__name__)

STEPS = (
    "choose_backup", "plan_recovery", "approve_plan", "switch_maintenance_on", "create_scratch", "restore", "prove",
    "run_application_checks", "promote_copy", "switch_maintenance_off", "collect_evidence",
)  # fmt: skip
STATE = "state"
"""XCom of `switch_maintenance_off` after an exchange that did not end well: core.promotion.State."""
LEFT_ON = "left on"
"""XCom of `switch_maintenance_off`: that users are still refused."""


def reopen_production(promotion: Promotion | MongoPromotion, context: Context) -> None:
    """After a failed exchange: a killed worker may have left it closed or half done, or have completed it."""
    try:
        context["ti"].xcom_push(STATE, promotion.reopen())
    except GuardError as error:
        log.warning("%s", error)  # who else was at work has to look after it; the next step says whether it answers


def resume_production(config: PlaybookConfig, recovery: Recovery, context: Context, cancellation: Cancellation) -> str:
    """Switch the maintenance mode off, unless production cannot be used. Returns when, in ISO 8601; empty: there is
    no maintenance mode. Raises AirflowSkipException when it was never on, AirflowFailException when it stays on."""
    from backup_playbook.dag_parts.maintenance import switch
    from backup_playbook.dag_parts.recovery import recovery_settings

    source, instance = recovery["source"], context["ti"]
    if task_states(instance).get("switch_maintenance_on") not in ("success", "failed"):
        raise AirflowSkipException("The maintenance mode was not switched on.")
    maintenance = recovery_settings(config, source).maintenance
    if maintenance is None:
        return ""
    try:
        if not instance.xcom_pull("promote_copy"):
            _require_usable(config, source)
        switch(maintenance, on=False, cancellation=cancellation)
    except PlaybookError as error:
        instance.xcom_push(LEFT_ON, error.what)
        message = Message(
            severity="critical",
            headline=f"Maintenance mode of {source} is still on: its users are refused",
            lines=(error.what,),
            remedy=error.remedy,
            link=run_url(instance.dag_id, instance.run_id),
        )
        deliver(message)
        raise AirflowFailException(str(error)) from error
    return datetime.now(UTC).isoformat()


def _require_usable(config: PlaybookConfig, source: str) -> None:
    """Production is what it was. Raises PlaybookError when that cannot be used."""
    from backup_playbook.dag_parts import connections
    from backup_playbook.engines.postgres.investigation import read_every_table

    settings = config.source(source)
    if isinstance(settings, MongoSource):
        connections.rows_now(config, source)
        return
    unreadable = read_every_table(connections.postgres_server(settings, source), whole=False).unreadable
    if unreadable:
        table, why = next(iter(unreadable.items()))
        raise PlaybookError(
            f"The recovery failed, and production cannot be used: {counted(len(unreadable), 'table')} "
            f"cannot be read, such as {table}: {why}",
            "Clear the first red task of the run to try again. If users are to be let in, switch the maintenance mode "
            "off by hand.",
        )


@task(task_id="document_recovery", trigger_rule="all_done", retries=0)
def document_recovery(ti: Any) -> dict[str, str]:
    """Write the report and the evidence, and tell people. Fails when a step of the recovery did."""
    return conclude_recovery(ti, STEPS)


def conclude_recovery(ti: Any, steps: Sequence[str]) -> dict[str, str]:
    """steps: their task ids, in the order in which they can fail."""
    from backup_playbook.dag_parts.repositories import keep_report

    recovery = ti.xcom_pull("promote_copy") or _newest(ti)
    failed, problem = first_failure(ti, steps, bad=("failed",))
    if not recovery:
        headline, lines, address = "A recovery could not be planned; nothing was touched", [problem], ""
    else:
        config = load_config()
        report = _report(config, ti, recovery, failed, problem)
        name = f"recovery-{report.finished_at:%Y%m%dT%H%M%SZ}"
        address, lost = keep_report(
            config, report.source, report.repository, name, report.to_json(), report.to_markdown()
        )
        missing = _add_evidence(config, report, recovery, address, found=_found(ti))
        headline, lines = report.headline(), [report.in_short(), lost or f"Report: {address}", *missing]
    undo = [f"To undo: `{report.undo()}`"] if recovery and report.recovered else []
    message = Message(
        severity="high" if failed else "info",
        headline=headline,
        lines=(*lines, *undo),
        remedy="open the red task and the report, correct the cause, and clear the task." if failed else "",
        link=run_url(ti.dag_id, ti.run_id),
    )
    tell(ti, message)
    if failed:
        raise AirflowFailException("\n".join([headline, *message.paragraphs]))
    return {"report": address, "in_short": lines[0]}


def _newest(instance: Any) -> Any:
    """What the last good step before the exchange left."""
    steps = ("run_application_checks", "prove", "restore", "create_scratch", "present_plan")
    said = next((said for step in steps if (said := instance.xcom_pull(step))), None)
    return said or instance.xcom_pull("approve_plan", key=CHOSEN) or instance.xcom_pull("plan_recovery")


def _report(config: PlaybookConfig, instance: Any, recovery: Any, failed: str, problem: str) -> RecoveryReport:
    from backup_playbook.dag_parts.recovery_planning import UNDO_DAG, exchange_words

    state = instance.xcom_pull("switch_maintenance_off", key=STATE)
    approval, exchange = instance.xcom_pull("approve_plan"), recovery["exchange"] or {}
    evidence, proof = instance.xcom_pull("collect_evidence") or {}, recovery.get("proof") or {}
    on, off = instance.xcom_pull("switch_maintenance_on"), instance.xcom_pull("switch_maintenance_off")
    return RecoveryReport(
        source=recovery["source"],
        engine=config.source(recovery["source"]).engine,
        live=recovery["live"],
        backup_id=recovery["backup_id"],
        taken_at=datetime.fromisoformat(recovery["taken_at"]),
        repository=recovery["repository"],
        quarantine=recovery["quarantine"],
        run_id=instance.run_id,
        run_url=run_url(instance.dag_id, instance.run_id),
        started_at=datetime.fromisoformat(recovery["started_at"]),
        finished_at=datetime.now(UTC),
        waited=_waited(approval, datetime.fromisoformat(recovery["planned_at"])),
        approved_by=approved_by(approval),
        failed_step=failed,
        problem=problem,
        promoted_at=exchange.get("promoted_at") or (datetime.now(UTC) if state == "promoted" else None),
        unreachable_seconds=exchange.get("unreachable_seconds"),
        exchanged=_exchanged(exchange_words(config, recovery["source"]), exchange),
        undo_dag=UNDO_DAG,
        sessions_ended=exchange.get("sessions_ended", 0),
        maintenance=_maintenance(instance, on, off),
        maintenance_window=datetime.fromisoformat(off) - datetime.fromisoformat(on) if on and off else None,
        phases=recovery["phases"],
        rto_objective=config.objectives_of(recovery["source"]).rto,
        left_out=tuple(proof.get("left_out", ())),
        recomputed=tuple(proof.get("recomputed", ())),
        **evidence,
    )


def _exchanged(words: ExchangeWords, exchange: Mapping[str, Any]) -> str:
    if exchange.get("unreachable_seconds") is None:
        return ""
    return words.exchanged.format(seconds=exchange["unreachable_seconds"], sessions=exchange.get("sessions_ended", 0))


def _waited(approval: Any, planned_at: datetime) -> timedelta:
    """From the plan to the answer."""
    if not approval:
        return timedelta()
    answered = approval["responded_at"]
    at = answered if isinstance(answered, datetime) else datetime.fromisoformat(answered)
    return max(at - planned_at, timedelta())


def _maintenance(instance: Any, on: str | None, off: str | None) -> str:
    if left_on := instance.xcom_pull("switch_maintenance_off", key=LEFT_ON):
        return f"MAINTENANCE MODE IS STILL ON: {left_on}"
    if on:
        return "The maintenance mode is off again." if off else "MAINTENANCE MODE MAY STILL BE ON: see the red task."
    return ""


def _found(instance: Any) -> str:
    """The kind of evidence against the backup; empty when there is none."""
    said = (instance.xcom_pull(step, key=DAMAGED) for step in ("prove", "restore", "create_scratch"))
    return next(filter(None, said), "")


def _add_evidence(
    config: PlaybookConfig, report: RecoveryReport, recovery: Recovery, address: str, *, found: str
) -> list[str]:
    """Returns what could not be written."""
    from backup_playbook.dag_parts.repositories import add_finding, add_proof

    source, backup_id, repository = report.source, report.backup_id, report.repository
    if found:
        return add_finding(config, source, backup_id, repository, found, report.problem)
    if not recovery["proof"]:
        return []
    seconds = {"restore": 0.0, "prove": 0.0}
    for name, took in recovery["phases"].items():
        if (step := name.partition(":")[0]) in seconds:
            seconds[step] += took
    body = {
        "report": address,
        "seconds": seconds,
        "rto_seconds": report.rto.total_seconds(),
        "target": recovery["scratch"],
    }
    return add_proof(config, source, backup_id, repository, recovery["origin"], body)
