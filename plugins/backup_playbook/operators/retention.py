"""Removing what the retention policy no longer keeps, and what failed runs left behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Context

from backup_playbook.operators.base import SourceOperator, is_true


class ApplyRetention(SourceOperator):
    """Prune a source in its repository and in each off-site one. The plan is logged before anything is removed.

    dry_run: only log the plan. Returns, by repository, how many backups stay, and what was removed.
    """

    template_fields: Sequence[str] = ("source", "dry_run")

    def __init__(self, *, source: str, dry_run: bool | str = False, **arguments: Any) -> None:
        super().__init__(source=source, **arguments)
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, dict[str, Any]]:  # noqa: ARG002 - passed by name
        settings = self.config.source(self.source)
        return {name: self.prune(name) for name in (settings.repository, *settings.offsite)}

    def prune(self, repository: str) -> dict[str, Any]:
        """In one repository."""
        from backup_playbook.dag_parts import connections
        from backup_playbook.repository import removal

        now = datetime.now(UTC)
        catalog = connections.catalog(self.config, repository)
        plan = removal.plan(catalog, self.source, self.config.retention_of(self.source), now)
        self.log.info("Retention of %s in %s:\n%s", self.source, catalog.store.url, plan)
        removed = [decision.backup_id for decision in plan.remove]
        if is_true(self.dry_run):
            self.log.info("Dry run: nothing was removed.")
            return {"kept": len(plan.keep), "would_remove": removed}
        removal.apply(catalog, self.source, plan)
        swept = removal.sweep(catalog, self.source, self.config.sweep.grace, now)
        if swept.backups or swept.uploads:
            self.log.info(
                "Swept %d objects of %d unfinished runs (%s) and %d unfinished uploads.",
                swept.objects, len(swept.backups), ", ".join(swept.backups), swept.uploads,
            )  # fmt: skip
        return {"kept": len(plan.keep), "removed": removed, "swept": list(swept.backups)}
