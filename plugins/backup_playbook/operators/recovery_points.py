"""The backups that could be restored now: for people, in the log; for pages and programs, as the task's result."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, Context

from backup_playbook.config import load_config


class ListRecoveryPoints(BaseOperator):
    """List the newest backups of every source. Returns core.recovery_points.RecoveryPoints.as_json by source."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{"retries": 0, **arguments})

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        """List them."""
        from backup_playbook.connections.registry import access
        from backup_playbook.core.recovery_points import as_text
        from backup_playbook.engines.recovery_points import find_recovery_points

        config, now = load_config(), datetime.now(UTC)
        found = []
        for name in config.sources:
            one = access(config, name)
            found.append(find_recovery_points(name, one.repositories, one.catalog, one.engine, now))
        self.log.info("What can be restored:\n\n%s\n", as_text(found, now))
        return {points.source: points.as_json(now) for points in found}
