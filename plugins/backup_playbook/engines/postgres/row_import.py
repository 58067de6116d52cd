"""Found rows back into production: one transaction, read back before it is committed, with a script that undoes it.

One statement inserts the rows of all tables: Postgres checks foreign keys at its end, so that no order of tables
matters, and rows that refer to each other in a circle come in together. Triggers of people are disabled one by one, not
all by session_replication_role: foreign keys are checked as always.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.holdings import counted
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows, RowRecoveryError, State
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.inventory import literal, quoted
from backup_playbook.engines.postgres.row_catalog import Trigger, read_triggers
from backup_playbook.engines.postgres.row_staging import (
    STATE,
    StagedTable,
    Staging,
    settable,
    staged_rows,
    written_states,
)
from backup_playbook.engines.postgres.row_undo import undo_script

log = logging.getLogger(__name__)

_SEQUENCES = """
SELECT a.attname::text, quote_ident(n.nspname) || '.' || quote_ident(s.relname)
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
  AND d.deptype IN ('a', 'i') AND q.seqincrement > 0 AND d.refobjid = pg_catalog.to_regclass(%s)
"""


def preview_rows(live: PostgresServer, scratch: PostgresServer, on_conflict: OnConflict) -> Preview:
    """What an import would do; production is as before. Raises RestoreError, SourceError."""
    with staged_rows(live, scratch) as staging:
        return staging.preview(on_conflict)


def import_rows(
    live: PostgresServer,
    scratch: PostgresServer,
    seen: Preview,
    on_conflict: OnConflict,
    *,
    fire_triggers: bool,
    keep_undo: Callable[[bytes], str],
) -> RecoveredRows:
    """Write what `seen` shows, all of it or nothing. keep_undo: stores the script, and tells where.

    Raises RowRecoveryError when production has changed since, or conflicts remain; RestoreError, SourceError.
    """
    with staged_rows(live, scratch) as staging:
        now = staging.preview(on_conflict)
        now.require_clear(on_conflict)
        if not any(any(table.written(on_conflict)) for table in now.tables):
            log.info("All rows are there: nothing is left to write.")
            return RecoveredRows(inserted={}, overwritten={}, sequences=(), finished_at=datetime.now(UTC), undo="")
        if now.fingerprint != seen.fingerprint:
            raise RowRecoveryError(
                "Production has changed since the preview: other rows would be written than were shown.",
                "Nothing was written. Start this recovery again, and look at its preview.",
            )
        return _Import(staging, on_conflict, fire_triggers).run(keep_undo)


def remaining_rows(live: PostgresServer, scratch: PostgresServer) -> dict[str, dict[State, int]]:
    """Found rows by table and state, as production is now."""
    with staged_rows(live, scratch) as staging:
        return {item.table: {**item.counts} for item in staging.preview("skip").tables}


class _Import:
    def __init__(self, staging: Staging, on_conflict: OnConflict, fire_triggers: bool) -> None:
        self._staging, self._on_conflict, self._fire_triggers = staging, on_conflict, fire_triggers
        self._written = written_states(on_conflict)
        self._triggers = (
            [] if fire_triggers else read_triggers(staging.live, [item.live.name for item in staging.tables])
        )

    def run(self, keep_undo: Callable[[bytes], str]) -> RecoveredRows:
        tables = self._staging.tables
        for table in tables:
            self._keep_replaced(table)
        self._switch(lambda _: "DISABLE")
        (counts,) = self._staging.ask(self._statement())
        self._staging.do("SET CONSTRAINTS ALL IMMEDIATE")
        if not self._fire_triggers:
            for table in tables:
                self._require_equal(table)
        sequences = [name for table in tables for name in self._advance_sequences(table)]
        self._switch(lambda trigger: trigger.enable)
        undo = keep_undo(undo_script(self._staging, self._triggers))
        self._staging.live.commit()
        labels = [table.live.label for table in tables]
        return RecoveredRows(
            inserted=dict(zip(labels, counts[::2], strict=True)),
            overwritten=dict(zip(labels, counts[1::2], strict=True)),
            sequences=tuple(sequences),
            finished_at=datetime.now(UTC),
            undo=undo,
        )

    def _keep_replaced(self, table: StagedTable) -> None:
        """Rows that will be overwritten, for the undo script; locked, so that they are what was seen."""
        differs = f"s.{STATE} = 'differs' AND {self._on_conflict == 'overwrite'}"
        self._staging.do(
            f"CREATE TEMP TABLE replaced_{table.name} ON COMMIT DROP AS SELECT t.* FROM {table.target} t "
            f"JOIN {table.name} s ON {table.same_key('s', 't')} WHERE {differs} FOR UPDATE OF t"
        )

    def _statement(self) -> str:
        parts, counts = [], []
        for number, table in enumerate(self._staging.tables):
            listed = ", ".join(map(quoted, table.columns))
            parts.append(
                f"i{number} AS (INSERT INTO {table.target} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} "
                f"FROM {table.name} WHERE {STATE} = 'missing' RETURNING 1)"
            )
            parts.append(f"u{number} AS ({self._update(table)} RETURNING 1)")
            counts += [f"(SELECT count(*) FROM i{number})", f"(SELECT count(*) FROM u{number})"]
        return f"WITH {', '.join(parts)} SELECT {', '.join(counts)}"

    def _update(self, table: StagedTable) -> str:
        values = ", ".join(f"{quoted(name)} = s.{quoted(name)}" for name in settable(table, table.columns))
        wanted = f"s.{STATE} = 'differs' AND {self._on_conflict == 'overwrite'}"
        return f"UPDATE {table.target} t SET {values} FROM {table.name} s WHERE {table.same_key('s', 't')} AND {wanted}"

    def _require_equal(self, table: StagedTable) -> None:
        ((count,),) = self._staging.ask(
            f"SELECT count(*) FROM {table.name} s LEFT JOIN {table.target} t ON {table.same_key('s', 't')} "
            f"WHERE s.{STATE} IN ({self._written}) AND {table.row('t')} IS DISTINCT FROM {table.row('s')}"
        )
        if count:
            raise RestoreError(
                f"{counted(count, 'row')} of {table.live.label} cannot be read back as written: a rule or a trigger "
                "that cannot be switched off changes what is written.",
                "Nothing was written. Choose `triggers: fire` if these changes are meant.",
            )

    def _advance_sequences(self, table: StagedTable) -> Iterator[str]:
        """Only forward: another session may have taken values meanwhile."""
        for column, sequence in self._staging.ask(_SEQUENCES, [table.target]):
            if column in table.columns:
                moved = self._staging.ask(
                    f"SELECT pg_catalog.setval({literal(sequence)}, newest) FROM {sequence} q, "
                    f"(SELECT max({quoted(column)}) AS newest FROM {table.name} WHERE {STATE} IN ({self._written})) s "
                    "WHERE newest > q.last_value OR newest = q.last_value AND NOT q.is_called"
                )
                if moved:
                    yield sequence

    def _switch(self, words: Callable[[Trigger], str]) -> None:
        try:
            for trigger in self._triggers:
                self._staging.do(trigger.switch(words(trigger)))
        except psycopg.errors.InsufficientPrivilege as error:
            owners = sorted({quoted(*trigger.table) for trigger in self._triggers})
            raise RestoreError(
                f"Triggers cannot be switched off for the import: {str(error).strip()}",
                f"Grant the role of this source's `recovery` connection the owner of {', '.join(owners)}, or choose "
                "`triggers: fire`.",
            ) from None
