"""Import of found rows into production: one transaction, read back before the commit, with an undo script.

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
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows, RowRecoveryError, State
from backup_playbook.core.words import counted
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.inventory import literal, quoted
from backup_playbook.engines.postgres.row_catalog import Trigger, read_triggers, said
from backup_playbook.engines.postgres.row_preview import make_preview
from backup_playbook.engines.postgres.row_staging import STATE, StagedTable, Staging, staged_rows
from backup_playbook.engines.postgres.row_undo import undo_script
from backup_playbook.engines.postgres.row_writing import Overwriting, all_gone, park

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
    """Preview an import; production stays as it is. Raises RestoreError, SourceError."""
    with staged_rows(live, scratch, on_conflict) as staging:
        return make_preview(staging)


def import_rows(
    live: PostgresServer,
    scratch: PostgresServer,
    seen: Preview,
    on_conflict: OnConflict,
    *,
    fire_triggers: bool,
    keep_undo: Callable[[bytes], str],
) -> RecoveredRows:
    """Write what `seen` shows, all of it or nothing. keep_undo: stores the undo script, and returns its place.

    Raises RowRecoveryError when production has changed since, or conflicts remain; RestoreError, SourceError.
    """
    with staged_rows(live, scratch, on_conflict) as staging:
        _lock(staging)
        now = make_preview(staging)
        now.require_clear(on_conflict)
        if not any(any(table.written(on_conflict)) for table in now.tables):
            log.info("All rows are there: nothing is left to write.")
            return RecoveredRows(inserted={}, overwritten={}, sequences=(), finished_at=datetime.now(UTC), undo="")
        if now.fingerprint != seen.fingerprint:
            raise RowRecoveryError(
                "Production has changed since the preview: other rows would be written than were shown.",
                "Nothing was written. Start this recovery again, and look at its preview.",
            )
        return _Import(staging, fire_triggers).run(keep_undo).model_copy(update={"cut": now.cut})


def remaining_rows(live: PostgresServer, scratch: PostgresServer) -> dict[str, dict[State, int]]:
    """Count the found rows by table and state, as production is now. Raises RestoreError, SourceError."""
    with staged_rows(live, scratch, "skip") as staging:
        return {item.table: {**item.counts} for item in make_preview(staging).tables}


def _lock(staging: Staging) -> None:
    """Lock the rows that will be overwritten: they stay as the fingerprint has them."""
    for table in staging.tables:
        if staging.on_conflict == "overwrite":
            staging.do(
                f"SELECT FROM {table.rows} t JOIN {table.name} s ON {table.same_key('s', 't')} "
                f"WHERE s.{STATE} = 'differs' FOR UPDATE OF t"
            )


class _Import:
    def __init__(self, staging: Staging, fire_triggers: bool) -> None:
        self._staging, self._fire_triggers = staging, fire_triggers
        self._triggers = (
            [] if fire_triggers else read_triggers(staging.live, [item.live.name for item in staging.tables])
        )

    def run(self, keep_undo: Callable[[bytes], str]) -> RecoveredRows:
        tables = self._staging.tables
        for table in tables:
            self._keep_replaced(table)
        self._switch(lambda _: "DISABLE")
        for table in tables:
            if constraints := self._staging.parked.get(table.name):
                self._staging.do(park(table, constraints, f"replaced_{table.name}", table.name))
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
        """Keep the rows that will be overwritten, for the undo script."""
        differs = f"s.{STATE} = 'differs' AND {self._staging.on_conflict == 'overwrite'}"
        self._staging.do(
            f"CREATE TEMP TABLE replaced_{table.name} ON COMMIT DROP AS SELECT t.* FROM {table.rows} t "
            f"JOIN {table.name} s ON {table.same_key('s', 't')} WHERE {differs}"
        )

    def _statement(self) -> str:
        tables = self._staging.tables
        overwriting = [self._overwriting(number, table) for number, table in enumerate(tables)]
        deletions = [part for item in overwriting if (part := item.deletion)]
        parts, counts, gone = [*deletions], [], all_gone(deletions)
        for item in overwriting:
            listed = ", ".join(map(quoted, item.table.columns))
            parts.append(
                f"i{item.number} AS (INSERT INTO {item.table.target} ({listed}) OVERRIDING SYSTEM VALUE "
                f"SELECT {listed} FROM {item.table.name} WHERE {STATE} = 'missing' AND {gone} RETURNING 1)"
            )
            parts.append(item.writing(gone))
            counts += [f"(SELECT count(*) FROM i{item.number})", f"(SELECT count(*) FROM u{item.number})"]
        return f"WITH {', '.join(parts)} SELECT {', '.join(counts)}"

    def _overwriting(self, number: int, table: StagedTable) -> Overwriting:
        """Overwrite the columns that the backup has; the values of others stay as they are."""
        source = f"{table.name} s JOIN replaced_{table.name} r ON {table.same_key('s', 'r')}"
        return Overwriting(table, number, self._staging.way(table), source, "s", table.columns)

    def _require_equal(self, table: StagedTable) -> None:
        ((count,),) = self._staging.ask(
            f"SELECT count(*) FROM {table.name} s LEFT JOIN {table.rows} t ON {table.same_key('s', 't')} "
            f"WHERE s.{STATE} IN ({self._staging.written}) AND {table.row('t')} IS DISTINCT FROM {table.row('s')}"
        )
        if count:
            raise RestoreError(
                f"{counted(count, 'row')} of {table.live.label} cannot be read back as written: a rule or a trigger "
                "that cannot be switched off changes what is written.",
                "Nothing was written. Choose `triggers: fire` if these changes are meant.",
            )

    def _advance_sequences(self, table: StagedTable) -> Iterator[str]:
        """Advance sequences past the rows, never back: another session may have taken values meanwhile."""
        written = f"{table.name} WHERE {STATE} IN ({self._staging.written})"
        for column, sequence in self._staging.ask(_SEQUENCES, [table.target]):
            if column in table.columns:
                moved = self._staging.ask(
                    f"SELECT pg_catalog.setval({literal(sequence)}, newest) FROM {sequence} q, "
                    f"(SELECT max({quoted(column)}) AS newest FROM {written}) s "
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
                f"Triggers cannot be switched off for the import: {said(error)}",
                f"Grant the role of this source's `recovery` connection the owner of {', '.join(owners)}, or choose "
                "`triggers: fire`.",
            ) from None
