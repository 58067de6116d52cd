"""Removal of what the retention policy no longer keeps, and of what failed runs left behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.errors import GuardError
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url, tell
from backup_playbook.operators.base import SourceOperator, is_true

if TYPE_CHECKING:
    from backup_playbook.repository.catalog import Catalog


class ApplyRetention(SourceOperator):
    """Prune a source in its repository and in each off-site one. The plan is logged before anything is removed.

    Returns, by repository, how many backups stay, and what was removed.

    :param dry_run: only log the plan.
    """

    template_fields: Sequence[str] = ("source", "dry_run")

    def __init__(self, *, dry_run: bool | str = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, dict[str, Any]]:  # noqa: ARG002 - passed by name
        """Prune all repositories."""
        return {name: self._prune(self.access.catalog(name)) for name in self.access.repositories}

    def _prune(self, catalog: Catalog) -> dict[str, Any]:
        from backup_playbook.repository import removal

        now = datetime.now(UTC)
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
        done = {"kept": len(plan.keep), "removed": removed, "swept": list(swept.backups)}
        versions = self.access.remove_unnamed(catalog, now)
        return done if versions is None else {**done, "versions": versions}


class ReleaseHold(SourceOperator):
    """Release a backup that is held: retention may remove it as any other. Fails when it is not held.

    :param backup: its id.
    :param reason: why, stored beside the backup.
    """

    template_fields: Sequence[str] = ("source", "backup", "reason")

    def __init__(self, *, backup: str, reason: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.backup = backup
        self.reason = reason

    def execute(self, context: Context) -> list[str]:
        """Write that it is released, wherever it is held; return the repositories."""
        from backup_playbook.connections.repositories import Repositories
        from backup_playbook.core.evidence import Released

        run = context["dag_run"]
        note = Released(reason=self.reason, by=run.triggering_user_name, run_id=run.run_id)

        def release(catalog: Catalog) -> bool:
            held = catalog.entry(self.source, self.backup).held
            if held:
                catalog.add_evidence(self.source, self.backup, note)
            return bool(held)

        done = Repositories(self.config, client=None).every(self.access.repositories, release)
        released = [name for name, was_held in done.items() if was_held]
        if not released:
            raise GuardError(
                f"{self.backup} of {self.source} is not held in {', '.join(done)}.",
                "Nothing was done. Copy the id from list_recovery_points, or from the run that took the backup.",
            )
        message = Message(
            severity="info",
            headline=f"{self.source}: the hold of {self.backup} is released",
            lines=(f"Retention removes it, in {', '.join(released)}, when no rule keeps it. {self.reason}".strip(),),
            link=run_url(context["ti"].dag_id, context["ti"].run_id),
        )
        tell(context["ti"], message)
        return released
