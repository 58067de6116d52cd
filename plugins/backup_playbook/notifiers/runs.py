"""Messages of a run that cannot speak for itself: it failed, works again, or is late.

Airflow calls RunFailed and RunRecovered in the dag processor, within its `dag_file_processor_timeout` (50 s), and
RunLate in the triggerer: none of them needs a worker that still lives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier
from airflow.sdk.configuration import conf

from backup_playbook.config import load_config
from backup_playbook.core.progress import human_age
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.slack import deliver

ERROR = "error"
"""XCom of a failed task: the text of its exception."""
TOLD = "told"
"""XCom of a task: it has told people how its run ended."""
KILLED = "Its process ended without a word; it may have been killed."
REMEDY = (
    "open the red task, read its error, and clear the task when the cause is gone, with *Downstream* (the UI offers "
    "it; in the API: `include_downstream`): then the later steps run again, too, and of this source alone."
)
_ERROR_CHARACTERS = 1500
_SOURCES_NAMED = 10
_WHAT_HAPPENED = {
    "timed_out": "has not ended in time and was stopped",
    "all_tasks_deadlocked": "cannot go on: no task is left that may run",
}


def keep_error(context: Mapping[str, Any]) -> None:
    """Keep what a task said: on_failure_callback of every task, in its own process. RunFailed runs in another one."""
    if error := context.get("exception"):
        context["ti"].xcom_push(key=ERROR, value=str(error)[:_ERROR_CHARACTERS])


def task_states(instance: Any) -> dict[str, str]:
    """Return the states of this run's tasks, by task id; mapped ones as `group.step_0`."""
    run = instance.run_id
    states: dict[str, str] = instance.get_task_states(dag_id=instance.dag_id, run_ids=[run])[run]
    return states


def tell(instance: Any, message: Message) -> None:
    """Deliver how a run ended, from one of its last tasks: RunFailed and RunRecovered then keep silent about it."""
    if deliver(message):
        instance.xcom_push(key=TOLD, value=True)


class RunFailed(BaseNotifier):
    """Tell that a run failed: on_failure_callback of a DAG."""

    def notify(self, context: Mapping[str, Any]) -> None:
        """Tell it, unless a task of the run has."""
        reason, instance = context.get("reason", ""), context.get("ti")
        if reason == "task_failure" and _told(instance):
            return
        what = _WHAT_HAPPENED.get(reason, "failed")
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        message = Message(
            severity="high",
            headline=f"{dag_id} {what}",
            lines=(*_failure(instance, reason), *_protection(context.get("params"))),
            remedy=REMEDY,
            link=instance.log_url if instance else run_url(dag_id, run_id),
        )
        deliver(message)


class RunRecovered(BaseNotifier):
    """Tell of the first success after a failure, of this run or of the one before: on_success_callback of a DAG."""

    def notify(self, context: Mapping[str, Any]) -> None:
        """Tell it, unless a task of the run has."""
        instance, run = context.get("ti"), context.get("dag_run")
        if not instance or not run or _told(instance):
            return
        previous = instance.get_previous_dagrun()
        if not run.clear_number and not (previous and previous.state == "failed"):
            return
        message = Message(
            severity="high",
            headline=f"{run.dag_id} works again",
            lines=tuple(_protection(context.get("params"))),
            link=run_url(run.dag_id, run.run_id),
            over=True,
        )
        deliver(message)


class RunLate(BaseNotifier):
    """Tell that a run is late: callback of a deadline. seconds: the time that the run had.

    It also speaks of a run that has failed, and of which RunFailed may have spoken: the time is over and nobody has
    repaired it. When the DAG's own file is broken, this is the only one that can speak.
    """

    def __init__(self, seconds: float, context: Any = None) -> None:
        super().__init__(context)
        self.time = timedelta(seconds=seconds)

    async def async_notify(self, context: Mapping[str, Any]) -> None:
        """Tell it from the triggerer."""
        from asgiref.sync import sync_to_async

        await sync_to_async(self.notify)(context)

    def notify(self, context: Mapping[str, Any]) -> None:
        """Tell, from the context of a deadline: nothing but `dag_run`, as the REST API shows it, and `deadline`."""
        run = context["dag_run"]
        dag_id, run_id, state = run["dag_id"], run["dag_run_id"], run["state"]
        since = datetime.fromisoformat(run["queued_at"])
        if state == "running" and (task := _waits_for_a_person(dag_id, run_id)):
            # not the run is late, but the answer
            message = Message(
                severity="medium",
                headline=f"{dag_id} still waits for an answer",
                lines=(
                    f"Since {since:%Y-%m-%d %H:%M:%S} UTC; it waits at `{task}`; {human_age(self.time)} have passed.",
                ),
                remedy="open it, read the plan under Required Actions, and answer.",
                link=run_url(dag_id, run_id),
            )
            deliver(message)
            return
        message = Message(
            severity="high",
            headline=f"{dag_id} is late: not done after {human_age(self.time)}",
            lines=(
                f"It was due to start at {since:%Y-%m-%d %H:%M:%S} UTC and {_STATES.get(state, f'is {state}')}.",
                *_protection(run["conf"]),
            ),
            remedy=_LATE_REMEDIES.get(state, REMEDY),
            link=run_url(dag_id, run_id),
        )
        deliver(message)


_STATES = {
    "queued": "still waits for its start",
    "running": "is still running",
    "failed": "has failed",
}
_LATE_REMEDIES = {
    "queued": "look for another run of this DAG that is still active, and whether the scheduler runs.",
    "running": "open the run: a red task has to be cleared, a waiting one lacks a slot in the pool or a worker, and "
    "the log of a running one says how far it is.",
}


def _waits_for_a_person(dag_id: str, run_id: str) -> str:
    """The task of the run that waits for an answer; empty when none does."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(dag_id=dag_id, run_ids=[run_id])[run_id]
    return next((task for task, state in states.items() if state == "awaiting_input"), "")


def run_url(dag_id: str, run_id: str) -> str:
    """Return the address of the page of a run."""
    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def _told(instance: Any) -> bool:
    return bool(instance and instance.xcom_pull(key=TOLD, task_ids=instance.task_id, map_indexes=instance.map_index))


def _failure(instance: Any, reason: str) -> Iterable[str]:
    """The task that failed last, or where a run was stopped, and its error."""
    if not instance:
        return
    task = f"`{instance.task_id}`"
    if reason != "task_failure":
        yield f"It was at {task}."
        return
    error = instance.xcom_pull(key=ERROR, task_ids=instance.task_id, map_indexes=instance.map_index)
    yield f"*{task} failed:* {error or 'its process ended without a word; it may have been killed.'}"


def _protection(params: Mapping[str, Any] | None) -> Sequence[str]:
    """Return the protection of the sources that the run was about; of all of them if it does not say."""
    from backup_playbook.notifiers.protection import protection_status

    params = params or {}
    named = params.get("sources") or ([params["source"]] if params.get("source") else list(load_config().sources))
    more = len(named) - _SOURCES_NAMED
    return [*protection_status(named[:_SOURCES_NAMED]), *([f"... and {more} more sources."] if more > 0 else [])]
