"""What a run says at its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import load_config
from backup_playbook.core.errors import PlaybookError
from backup_playbook.dag_parts.outcome import BACKUP_STEPS, LastVerified, Outcome, headline, outcome, severity
from backup_playbook.notifiers import slack
from backup_playbook.operators.backup import TakenBackup

GROUP = "protect"
REMEDY = (
    "What to do: open the red task, read its error, and clear the task when the cause is gone; the later steps then "
    "run again by themselves."
)


@task(trigger_rule="all_done", retries=0)
def announce_result(ti: Any, params: dict[str, Any]) -> list[TakenBackup]:
    """Tell people what was backed up and proven, and what was not. Returns the backups.

    Fails, and with it the run, when any step of any source did not succeed.
    """
    # what failed comes first: nobody reads to the end of a long message
    outcomes = sorted(_outcomes(ti, params["sources"]), key=lambda item: (item.safe, not item.failed))
    title, failed = headline(outcomes), [item for item in outcomes if item.failed]
    slack.send(severity(outcomes), title, [_line(item) for item in outcomes] + [REMEDY] * bool(failed), _run_url(ti))
    if failed:
        problems = "; ".join(f"{item.source}: {item.problem()}" for item in failed)
        raise AirflowFailException(f"{title}. {problems}. {REMEDY}")
    return [item.taken for item in outcomes if item.taken]


def _outcomes(instance: Any, names: list[str]) -> list[Outcome]:
    # one that left the configuration since the form was filled in has failed at the first task
    sources = load_config().sources
    by_run = instance.get_task_states(dag_id=instance.dag_id, run_ids=[instance.run_id])
    states = {key.removeprefix(f"{GROUP}."): state for key, state in by_run[instance.run_id].items()}
    return [
        outcome(name, index, states, _results(instance, index), offsite=name in sources and bool(sources[name].offsite))
        for index, name in enumerate(names)
    ]


def _results(instance: Any, index: int) -> dict[str, TakenBackup]:
    found = {step: instance.xcom_pull(task_ids=f"{GROUP}.{step}", map_indexes=index) for step in BACKUP_STEPS}
    return {step: result for step, result in found.items() if result}


def _line(item: Outcome) -> str:
    if not item.failed:
        return item.line()
    consequence = "" if item.safe else f" {_last_verified(item.source)}"
    return f"{item.line()} *{item.problem()}.*{consequence}"


def _last_verified(source: str) -> str:
    """One listing. The repository may be what failed: then that is the sentence."""
    from backup_playbook.dag_parts import connections

    config = load_config()
    try:
        backups = connections.catalog(config, config.source(source).repository).backups(source)
    except PlaybookError as error:
        return f"Whether it has an older verified backup cannot be told: {error.what}"
    newest = next((entry for entry in backups if entry.verified), None)
    if newest is None:
        return LastVerified().sentence()
    rpo = config.objectives_of(source).rpo
    return LastVerified(newest.backup_id, datetime.now(UTC) - newest.taken_at, rpo).sentence()


def _run_url(instance: Any) -> str:
    url: str = instance.log_url
    return url.split("/tasks/")[0]
