"""Questions to a restored copy besides being equal: does it fit production, does the application accept it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from backup_playbook.config import ApplicationCheck
from backup_playbook.core.errors import PlaybookError, VerificationError
from backup_playbook.operators.report import leave_facts
from backup_playbook.operators.restore import CopyStep, RestoreStep

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest
    from backup_playbook.engines.contract import ScratchTarget

DETAIL_CHARACTERS = 2000


class CompareWithProduction(RestoreStep):
    """Count the rows of production now, beside those of the backup.

    What the age of the backup does not explain is a remark for people, not a failure: production may be what is wrong.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare; return the hand-off as it is."""
        from backup_playbook.core.comparison import compare_rows

        with self.reader() as reader:
            manifest = reader.manifest
        now, before = self.access.count(), self._backup_before(manifest)
        compared = compare_rows(
            rows_by_table(manifest),
            now,
            datetime.now(UTC) - manifest.snapshot_at,
            rows_by_table(before) if before else None,
            manifest.snapshot_at - before.snapshot_at if before else timedelta(),
        )
        for item in compared:
            log = self.log.warning if item.remark else self.log.info
            log("%s: %s rows in the backup, %s in production. %s", item.table, item.then, item.now, item.remark)
        leave_facts(context, comparison=[asdict(item) for item in compared])
        return self.handoff.as_json()

    def _backup_before(self, manifest: Manifest) -> Manifest | None:
        """Return the manifest before this one, which tells how fast the tables change.

        Without one, or when that is damaged, a fixed share is allowed.
        """
        catalog = self.access.catalog(self.handoff.repository)
        older = (entry for entry in catalog.backups(self.source) if entry.verified)
        backup_id = next((entry.backup_id for entry in older if entry.backup_id < manifest.backup_id), None)
        try:
            return catalog.manifest(self.source, backup_id) if backup_id else None
        except VerificationError as error:
            self.log.warning("The backup is compared without %s, the one before it: %s", backup_id, error.what)
            return None


class RunApplicationChecks(CopyStep):
    """Run all that the source's configuration names on the restored copy. Fails when a check does.

    Skipped where rows were left out on purpose, as the application would miss them, and where no application can be
    sent to the copy. Beside production, what the checks write they have to roll back: the copy goes live afterwards.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{"retries": 0, **arguments})

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the checks; return the hand-off as it is."""
        known, settings = self.handoff, self.access.settings.restore_test
        if known.only:
            raise AirflowSkipException(f"The copy has only the rows of {', '.join(known.only)}.")
        scratch = self.scratch()
        if not scratch.takes_applications:
            raise AirflowSkipException(f"No application can be sent to {scratch.label}; staging was asked.")
        checks: Sequence[ApplicationCheck] = settings.checks if settings else ()
        results = [self._run(check, scratch) for check in checks]
        leave_facts(context, checks=results)
        if failed := [f"{result['name']}: {result['detail']}" for result in results if not result["ok"]]:
            raise VerificationError(
                f"{len(failed)} of {len(results)} application checks failed on the restored copy of {self.source} "
                f"{known.backup_id}: {' | '.join(failed)}",
                "The copy is what was backed up: run the check on production too. If it fails there, repair the data; "
                "if not, correct the check in sources.yaml.",
            )
        return known.as_json()

    def _run(self, check: ApplicationCheck, scratch: ScratchTarget) -> dict[str, Any]:
        """Run a check. Whatever goes wrong is its result."""
        from backup_playbook.connections.application import run_check

        started = time.monotonic()
        try:
            ok, detail = run_check(check, scratch, self.cancellation)
        except PlaybookError as error:
            ok, detail = False, str(error)
        self.log.info("%s: %s. %s", check.name, "ok" if ok else "FAILED", detail)
        detail = detail[-DETAIL_CHARACTERS:]
        return {"name": check.name, "ok": ok, "detail": detail, "seconds": round(time.monotonic() - started, 2)}


def rows_by_table(manifest: Manifest) -> dict[str, int]:
    """Return the rows by `schema.table`, but for the tables of extensions."""
    return {f"{table.namespace}.{table.name}": table.rows for table in manifest.tables if table.kind != "extension"}
