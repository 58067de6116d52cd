"""What a run says at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import load_config
from backup_playbook.core.errors import PlaybookError
from backup_playbook.dag_parts.outcome import STEPS, Outcome, headline, outcome, severity
from backup_playbook.dag_parts.standing import last_verified
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import ERROR, KILLED, REMEDY, run_url, task_states, tell
from backup_playbook.operators.backup import TakenBackup

GROUP = "protect"


@task(trigger_rule="all_done", retries=0)
def announce_result(ti: Any, params: dict[str, Any], kind: str = "databases") -> list[TakenBackup]:
    """Tell people what was backed up and proven, and what was not. Returns the backups. kind: one of STEPS.

    Fails, and with it the run, when any step of any source did not succeed.
    """
    # what failed comes first: nobody reads to the end of a long message
    outcomes = sorted(_outcomes(ti, params["sources"], kind), key=lambda item: (item.safe, not item.failed))
    title, failed = headline(outcomes, kind), [item for item in outcomes if item.failed]
    message = Message(
        severity=severity(outcomes),
        headline=title,
        lines=tuple(_line(item) for item in outcomes),
        remedy=REMEDY if failed else "",
        link=run_url(ti.dag_id, ti.run_id),
    )
    tell(ti, message)
    if failed:
        problems = "; ".join(f"{item.source}: {item.problem()}. {item.why()}".rstrip(" .") for item in failed)
        raise AirflowFailException(f"{title}. {problems}. What to do: {REMEDY}")
    return [item.taken for item in outcomes if item.taken]


def _outcomes(instance: Any, names: list[str], kind: str) -> list[Outcome]:
    # one that left the configuration since the form was filled in has failed at the first task
    sources = load_config().sources
    states = {key.removeprefix(f"{GROUP}."): state for key, state in task_states(instance).items()}
    found = [
        outcome(
            name,
            index,
            states,
            _results(instance, index, kind),
            offsite=name in sources and bool(sources[name].offsite),
            kind=kind,
        )
        for index, name in enumerate(names)
    ]
    return [replace(item, error=_error(instance, item, index)) for index, item in enumerate(found)]


def _error(instance: Any, item: Outcome, index: int) -> str:
    if item.state != "failed":  # one that was not reached has said nothing
        return ""
    task = item.failed if item.failed == "prune" else f"{GROUP}.{item.failed}"
    return str(instance.xcom_pull(task_ids=task, map_indexes=index, key=ERROR) or KILLED)


def _results(instance: Any, index: int, kind: str) -> dict[str, TakenBackup]:
    steps = [step for step in STEPS[kind] if step != "prune"]
    found = {step: instance.xcom_pull(task_ids=f"{GROUP}.{step}", map_indexes=index) for step in steps}
    return {step: result for step, result in found.items() if result and "seal" in result}


def _line(item: Outcome) -> str:
    if not item.failed:
        return item.line()
    consequence = "" if item.safe else f" {_last_verified(item.source)}"
    return " ".join(filter(None, [item.line(), f"*{item.problem()}.*", item.why()])) + consequence


def _last_verified(source: str) -> str:
    """The repository may be what failed: then that is the sentence."""
    try:
        return last_verified(source).sentence()
    except PlaybookError as error:
        return f"Whether it has an older verified backup cannot be told: {error.what}"
