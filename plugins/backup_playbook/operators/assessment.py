"""What is asked of a restored copy besides being equal: does it fit production, does the application accept it."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from backup_playbook.config import ApplicationCheck, CommandCheck, HttpCheck, SqlCheck
from backup_playbook.core.errors import PlaybookError, VerificationError
from backup_playbook.core.server_words import message
from backup_playbook.operators.restore import RestoreStep, TestedBackup
from backup_playbook.streams.processes import Cancellation

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest
    from backup_playbook.engines.contract import ScratchTarget

COMPARISON = "comparison"
"""XCom of `compare_with_production`: core.comparison.TableComparison as dictionaries."""
CHECKS = "checks"
"""XCom of `run_application_checks`, also when one of them failed: core.restore_report.CheckResult as dictionaries."""
DETAIL_CHARACTERS = 2000


class CompareWithProduction(RestoreStep):
    """Count the rows of production now, beside those of the backup.

    What the age of the backup does not explain is a remark for people, not a failure: production may be what is wrong.
    """

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.core.comparison import compare_rows
        from backup_playbook.dag_parts import connections

        with self.reader() as reader:
            manifest = reader.manifest
        now = connections.rows_now(self.config, self.source)
        before = self._backup_before(manifest)
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
        context["ti"].xcom_push(COMPARISON, [asdict(item) for item in compared])
        return self.tested

    def _backup_before(self, manifest: Manifest) -> Manifest | None:
        """It tells how fast the tables change; without one, or when that is damaged, a fixed share is allowed."""
        from backup_playbook.dag_parts import connections

        catalog = connections.catalog(self.config, self.tested["repository"])
        older = (entry for entry in catalog.backups(self.source) if entry.verified)
        backup_id = next((entry.backup_id for entry in older if entry.backup_id < manifest.backup_id), None)
        try:
            return catalog.manifest(self.source, backup_id) if backup_id else None
        except VerificationError as error:
            self.log.warning("The backup is compared without %s, the one before it: %s", backup_id, error.what)
            return None


class RunApplicationChecks(RestoreStep):
    """Run what the source's configuration names, all of it, on the restored copy. Fails when a check does.

    Skipped where rows were left out on purpose: the application would miss them.
    """

    _program = Cancellation()

    def execute(self, context: Context) -> TestedBackup:
        if self.tested.get("only"):
            raise AirflowSkipException(f"The copy has only the rows of {', '.join(self.tested['only'])}.")
        settings = self.config.source(self.source).restore_test
        results = [self._run(check) for check in settings.checks] if settings else []
        context["ti"].xcom_push(CHECKS, results)
        if failed := [f"{result['name']}: {result['detail']}" for result in results if not result["ok"]]:
            raise VerificationError(
                f"{len(failed)} of {len(results)} application checks failed on the restored copy of {self.source} "
                f"{self.tested['backup_id']}: {' | '.join(failed)}",
                "The copy is what was backed up: run the check on production too. If it fails there, repair the data; "
                "if not, correct the check in sources.yaml.",
            )
        return self.tested

    def _run(self, check: ApplicationCheck) -> dict[str, Any]:
        """Whatever goes wrong is the result of the check."""
        started = time.monotonic()
        scratch = self.scratch()
        try:
            match check:
                case SqlCheck():
                    ok, detail = _ask(scratch, check)
                case CommandCheck():
                    ok, detail = self._call(scratch, check)
                case HttpCheck():
                    ok, detail = _get(scratch, check)
        except PlaybookError as error:
            ok, detail = False, str(error)
        self.log.info("%s: %s. %s", check.name, "ok" if ok else "FAILED", detail)
        detail = detail[-DETAIL_CHARACTERS:]
        return {"name": check.name, "ok": ok, "detail": detail, "seconds": round(time.monotonic() - started, 2)}

    def _call(self, scratch: ScratchTarget, check: CommandCheck) -> tuple[bool, str]:
        from backup_playbook.dag_parts.application import call_program

        self._program = Cancellation()
        return call_program(check.command, check.timeout, self._program, DATABASE_URL=scratch.url)

    def on_kill(self) -> None:
        super().on_kill()
        self._program.cancel()


def rows_by_table(manifest: Manifest) -> dict[str, int]:
    """Rows by `schema.table`, but for the tables of extensions."""
    return {f"{table.namespace}.{table.name}": table.rows for table in manifest.tables if table.kind != "extension"}


def _ask(scratch: ScratchTarget, check: SqlCheck) -> tuple[bool, str]:
    import psycopg

    from backup_playbook.engines.postgres.scratch import ScratchDatabase

    assert isinstance(scratch, ScratchDatabase)  # no other source has such a check
    with scratch.server.connect() as connection:
        connection.read_only = True
        try:
            row = connection.execute(check.query.encode(connection.info.encoding)).fetchone()
        except psycopg.Error as error:
            return False, message(error.diag.message_primary or str(error).strip(), error.sqlstate)
    found = row[0] if row else None
    return (
        found == check.expect,
        f"{found}" if found == check.expect else f"found {found!r} instead of {check.expect!r}",
    )


def _get(scratch: ScratchTarget, check: HttpCheck) -> tuple[bool, str]:
    from backup_playbook.dag_parts.application import call_page

    path = check.path.replace("{database}", quote(scratch.name, safe=""))
    return call_page(check.connection, "GET", path, check.status, check.contains)
