"""Which backup, now? For people, in the log; for pages and programs, as the task's result."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import task

from backup_playbook.config import load_config

log = logging.getLogger(__name__)


@task(retries=0)
def list_recovery_points() -> dict[str, Any]:
    """By source, core.recovery_points.RecoveryPoints.as_json."""
    from backup_playbook.core.recovery_points import as_text
    from backup_playbook.dag_parts import connections
    from backup_playbook.engines.recovery_points import find_recovery_points

    config, now = load_config(), datetime.now(UTC)
    found = [
        find_recovery_points(
            name,
            (source.repository, *source.offsite),
            lambda repository: connections.catalog(config, repository),
            connections.engine(config, name),
            now,
        )
        for name, source in config.sources.items()
    ]
    log.info("What can be restored:\n\n%s\n", as_text(found, now))
    return {points.source: points.as_json(now) for points in found}
