"""What the tasks of all DAGs share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from backup_playbook.config import load_config

BACKUP_DEFAULTS: dict[str, Any] = {
    "owner": "data platform",
    "pool": load_config().airflow.pool,
    # for what passes by itself: a failover, a throttled store. A backup that is tried again is a new backup.
    "retries": 1,
    "retry_delay": timedelta(minutes=1),
}
