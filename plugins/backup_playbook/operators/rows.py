"""The steps of a recovery of deleted rows. What is asked for stands in the run's params."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.markdown import cell
from backup_playbook.core.masking import masked
from backup_playbook.core.row_recovery import Preview, RowRecoveryError
from backup_playbook.operators.base import SourceOperator
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.restore import ChooseBackup, RestoreStep, TestedBackup, begin_anew

if TYPE_CHECKING:
    from backup_playbook.config import PlaybookConfig
    from backup_playbook.engines.postgres.connection import PostgresServer
    from backup_playbook.engines.postgres.row_recovery import WantedRows

log = logging.getLogger(__name__)

PREVIEW = "preview"
"""XCom of `find_rows`: core.row_recovery.Preview as a dictionary, without rows."""
TABLES_SHOWN = 1000


def _live(config: PlaybookConfig, source: str) -> PostgresServer:
    """Production, as the role that may write to it."""
    from backup_playbook.dag_parts.recovery import live_database, production_server

    return production_server(config, source).at(live_database(config, source))


def _wanted(config: PlaybookConfig, source: str, form: Any) -> WantedRows:
    from backup_playbook.engines.postgres.row_recovery import wanted_rows

    children = form["children"] == "restore"
    return wanted_rows(_live(config, source), form["table"], form["keys"] or [], form["where"] or "", children=children)


def leave_plan(
    context: Context,
    tested: TestedBackup,
    preview: Preview,
    what: str,
    taken_at: datetime,
    how: str,
    asked: str = "",
) -> None:
    """For the approval, and for the import. Raises RowRecoveryError for conflicts that the form does not solve.

    Who approves sees rows, by their keys and values, and the condition that was `asked`. Logs, reports and messages go
    to more people, and have numbers.
    """
    from backup_playbook.dag_parts.approval import BEHIND, IN_SHORT, PLAN
    from backup_playbook.dag_parts.rows import SUMMARY

    ti, on_conflict = context["ti"], context["params"]["on_conflict"]
    numbers = preview.without_rows()
    log.info("%s", numbers.to_markdown(on_conflict))
    preview.require_clear(on_conflict)
    warning = "**UNVERIFIED: nobody has checked this backup.** " if tested["unverified"] else ""
    warning += f"{tested['remark']} " if tested["remark"] else ""
    source = f"from `{tested['backup_id']}` in {tested['repository']}"
    head = f"{warning}{what}, as they were at {taken_at:%Y-%m-%d %H:%M:%S} UTC, {source}. {how}\n\n"
    ti.xcom_push(PLAN, head + asked + preview.to_markdown(on_conflict))
    ti.xcom_push(SUMMARY, head + numbers.to_markdown(on_conflict))
    ti.xcom_push(IN_SHORT, warning + preview.in_short(on_conflict))
    ti.xcom_push(BEHIND, preview.fingerprint)
    ti.xcom_push(PREVIEW, numbers.model_dump(mode="json"))


def keep_undo(step: RestoreStep, name: str, content: bytes) -> str:
    """Beside the reports; encrypted where the backups are, for it holds what was overwritten. name: `rows-{}-undo.sql`.

    Returns where. Raises RepositoryError when no repository takes it.
    """
    from backup_playbook.dag_parts import connections
    from backup_playbook.dag_parts.repositories import keep

    stamp = "".join(char for char in step.tested["started_at"][:19] if char.isalnum())
    key = f"reports/{step.source}/{name.format(f'{stamp}Z')}"
    with connections.codec(step.config, step.source, step.cancellation) as codec:
        if codec.keyring is not None:
            key, content = key + codec.suffix, b"".join(codec.encode([content]))
    return f"{keep(step.config, step.source, step.tested['repository'], {key: content})}/{key}"


class ChooseRowsBackup(ChooseBackup):
    """Ask production first whether there can be such rows."""

    def execute(self, context: Context) -> TestedBackup:
        wanted = _wanted(self.config, self.source, context["params"])
        tables = ", ".join(sorted({".".join(link.child) for link in wanted.links}))
        self.log.info("Rows of %s; deletions go on to: %s.", wanted.table.label, tables or "nothing")
        return super().execute(context)


class FindRows(RestoreStep):
    """Load into the scratch what can be meant, and compare it with production. Leaves the plan for the approval.

    Fails when conflicts remain that `on_conflict` does not solve.
    """

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.engines.postgres.row_import import preview_rows
        from backup_playbook.engines.postgres.row_recovery import load_rows

        form, started = context["params"], time.monotonic()
        scratch, live = self.postgres_scratch(), _live(self.config, self.source)
        with self.noticing_damage(context), self.reader() as reader:
            begin_anew(context, scratch, reader.manifest)
            wanted = _wanted(self.config, self.source, form)
            phases = load_rows(live, scratch, reader, wanted, self.cancellation)
            taken_at = reader.manifest.snapshot_at
        preview = preview_rows(live, scratch.server, form["on_conflict"])
        how = (
            "One transaction writes them; a script that takes them back is stored in the repository before it is "
            "committed. Rows that are equal are not touched."
        )
        condition = wanted.selection.condition
        leave_plan(
            context,
            self.tested,
            preview,
            f"Rows of **{cell(wanted.table.label)}** and what went along",
            taken_at,
            how,
            f"Those that in the backup met {cell(condition.sql)}.\n\n" if condition else "",
        )
        phases = {f"find: {name}": seconds for name, seconds in phases.items() if name != "post_data"}
        return {**self.tested, "phases": {**phases, "find": time.monotonic() - started}}


class ImportRows(ChangesProduction, RestoreStep):
    """Write what was approved, in one transaction; the script that undoes it is stored before."""

    template_fields: Sequence[str] = ("backup", "approval")

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_playbook.engines.postgres.row_import import import_rows

        form = context["params"]
        recovered = import_rows(
            _live(self.config, self.source),
            self.postgres_scratch().server,
            Preview.model_validate(context["ti"].xcom_pull("find_rows", key=PREVIEW)),
            form["on_conflict"],
            fire_triggers=form["triggers"] == "fire",
            keep_undo=partial(keep_undo, self, "rows-{}-undo.sql"),
        )
        self.log.info(
            "Inserted %s, overwritten %s; undo: %s", recovered.inserted, recovered.overwritten, recovered.undo
        )
        return recovered.model_dump(mode="json")


class VerifyRows(RestoreStep):
    """Look at production again, in a session of its own: nothing may be missing that was to come back."""

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        from backup_playbook.engines.postgres.row_import import remaining_rows

        found = remaining_rows(_live(self.config, self.source), self.postgres_scratch().server)
        self.log.info("Rows of the backup in production now: %s", found)
        require_none_missing({table: counts.get("missing", 0) for table, counts in found.items()})
        return {table: dict(counts) for table, counts in found.items()}


def require_none_missing(counts: dict[str, int]) -> None:
    """counts: of what is missing, by table or collection. Raises VerificationError."""
    if missing := {name: count for name, count in counts.items() if count}:
        raise VerificationError(
            f"What was imported is missing again: {missing}.",
            "Find out who deletes it (an application, a trigger, a job); then start this recovery again.",
        )


class ListContents(SourceOperator):
    """What is in a backup: its tables; of one table, its objects and keys; rows by key."""

    template_fields: Sequence[str] = ("source", "backup")

    def __init__(self, *, source: str, backup: Any, **arguments: Any) -> None:
        super().__init__(source=source, **arguments)
        self.backup = backup

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_playbook.dag_parts import connections
        from backup_playbook.dag_parts.repositories import naming_others
        from backup_playbook.engines.postgres.row_lookup import find_record, lookup_rows
        from backup_playbook.engines.restore import open_backup

        form, chosen = context["params"], self.backup
        if form["keys"] and not form["table"]:
            raise RowRecoveryError("The form names keys and no table.", "Say in which table they are looked for.")
        catalog, engine = (
            connections.catalog(self.config, chosen["repository"]),
            connections.engine(self.config, self.source),
        )
        with (
            naming_others(self.config, self.source, chosen["repository"], chosen["backup_id"]),
            connections.codec(self.config, self.source, self.cancellation, decrypt=True) as codec,
        ):
            reader = open_backup(catalog, engine, self.source, chosen["backup_id"], codec)
            records = [find_record(reader.manifest, form["table"])] if form["table"] else reader.manifest.tables
            tables = [
                {
                    "table": f"{record.namespace}.{record.name}",
                    "rows": record.rows,
                    "bytes": record.bytes,
                    "key": list(record.key),
                    "parts": [
                        [
                            part.object,
                            part.rows,
                            *(masked(end, *record.key[:1]) for end in (part.key_min, part.key_max)),
                        ]
                        for part in record.parts
                    ],
                }
                for record in records[:TABLES_SHOWN]
            ]
            rows = lookup_rows(reader, records[0], form["keys"], self.cancellation) if form["keys"] else []
        for table in tables:
            self.log.info("%s: %d rows, %d bytes, key %s", table["table"], table["rows"], table["bytes"], table["key"])
        if form["keys"]:
            # logs go to more people than the result
            self.log.info(
                "%d of %d keys are in it, as they are written there. Their rows are in this task's XCom.",
                len(rows),
                len(form["keys"]),
            )
        return {"backup_id": chosen["backup_id"], "tables": tables, "rows": [masked(row) for row in rows]}
