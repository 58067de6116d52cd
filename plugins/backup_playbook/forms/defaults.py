"""The defaults of all DAGs, and of their tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from backup_playbook.config import load_config
from backup_playbook.notifiers.runs import RunFailed, RunRecovered, keep_error

ALERTS: dict[str, Any] = {"on_failure_callback": RunFailed(), "on_success_callback": RunRecovered()}
"""The callbacks of every DAG that runs by itself: `@dag(**ALERTS, ...)`."""

BACKUP_DEFAULTS: dict[str, Any] = {
    "owner": "data platform",
    "pool": load_config().airflow.pool,
    # for what passes by itself: a failover, a throttled store. A backup that is tried again is a new backup.
    "retries": 1,
    "retry_delay": timedelta(minutes=1),
    "on_failure_callback": keep_error,
}

AT_ONCE: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=1)}
"""The retries of a step that exchanges production: a killed worker may have left it closed to its users."""

BY_BUTTON: dict[str, Any] = {
    # a run of a paused DAG waits, and nobody wants to look for the switch at night
    "is_paused_upon_creation": False,
    "catchup": False,
    "max_active_runs": 1,
    "default_args": BACKUP_DEFAULTS,
    "tags": ["restore"],
}
"""The settings of every DAG that people start: `@dag(schedule=None, **BY_BUTTON, ...)`."""
