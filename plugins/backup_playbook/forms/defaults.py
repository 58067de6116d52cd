"""What all DAGs, and their tasks, share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable

from backup_playbook.config import load_config
from backup_playbook.notifiers.runs import RunFailed, RunRecovered, keep_error

NIGHTLY = "0 2 * * *"
"""Schedule of the backups of databases, in UTC. That of files is `file_backups` in policies.yaml."""

ALERTS: dict[str, Any] = {"on_failure_callback": RunFailed(), "on_success_callback": RunRecovered()}
"""Of every DAG that runs by itself: `@dag(**ALERTS, ...)`."""

BACKUP_DEFAULTS: dict[str, Any] = {
    "owner": "data platform",
    "pool": load_config().airflow.pool,
    # for what passes by itself: a failover, a throttled store. A backup that is tried again is a new backup.
    "retries": 1,
    "retry_delay": timedelta(minutes=1),
    "on_failure_callback": keep_error,
}

AT_ONCE: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=1)}
"""Of a step that exchanges production: one whose worker died may have left it closed to its users."""

BY_BUTTON: dict[str, Any] = {
    # a run of a paused DAG waits, and nobody wants to look for the switch at night
    "is_paused_upon_creation": False,
    "catchup": False,
    "max_active_runs": 1,
    "default_args": BACKUP_DEFAULTS,
    "tags": ["restore"],
}
"""Of every DAG that people start: `@dag(schedule=None, **BY_BUTTON, ...)`."""


def every(cron: str) -> CronTriggerTimetable:
    """The schedule of a DAG that runs by itself, in UTC.

    A DAG that is switched on waits for its next time. Airflow 3.3.2 would start at once what was due within a tenth of
    the period before, also where `run_immediately` is left off.
    """
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))
