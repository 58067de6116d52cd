"""Rows of a backup, put back into production."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backup_playbook.core.compared_records import Compared, preview_of
from backup_playbook.core.errors import SourceError
from backup_playbook.core.markdown import cell
from backup_playbook.core.masking import in_words, shortened
from backup_playbook.core.model import ObjectKind
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows, RowRecoveryError
from backup_playbook.core.row_recovery import State as RecordState
from backup_playbook.core.row_tables import Selection, TableShape, select_rows
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.contract import ScratchTarget
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation
from tests.support.example_engine.copies import SqliteScratch
from tests.support.example_engine.database import Database, Table, quoted, read_tables


@dataclass(frozen=True)
class SqliteRecords:
    """See `engines.record_recovery.RecordRecovery`. live: production."""

    live: Database
    wanted: WantedRecords

    undo_suffix = ".sql"

    def understand(self) -> str:
        table, selection = self._selection()
        how = f"{len(selection.keys)} by their keys" if selection.keys else "by a condition"
        return f"Rows of {table.label}, {how}."

    def describe(self) -> tuple[str, str, str]:
        table, selection = self._selection()
        how = "They are written in one transaction; triggers fire, and foreign keys are checked."
        return f"Rows of **{cell(table.label)}**", how, selection.where

    def load(self, scratch: ScratchTarget, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        table, _ = self._selection()
        parts = {part.object for one in reader.manifest.tables if one.name == table.name for part in one.parts}
        if not parts:
            raise RowRecoveryError(f"The backup has no table {table.name}.", "Choose an older or a newer one.")
        objects = [item for item in reader.manifest.objects if item.name in parts]
        _own(scratch).load(reader, [reader.objects(ObjectKind.SCHEMA)[0], *objects], cancellation)
        return {}

    def preview(self, scratch: ScratchTarget, on_conflict: OnConflict) -> Preview:
        table, selection = self._selection()
        with self.live.open(SourceError) as session:
            return _preview(table, selection, _compare(session, _own(scratch).database, table, selection))

    def import_records(
        self, scratch: ScratchTarget, seen: Preview, on_conflict: OnConflict, keep_undo: Callable[[bytes], str]
    ) -> RecoveredRows:
        table, selection = self._selection()
        with self.live.open(RowRecoveryError, writable=True) as session:
            session.execute("PRAGMA foreign_keys = ON")
            session.execute("BEGIN IMMEDIATE")
            found = _compare(session, _own(scratch).database, table, selection)
            now = _preview(table, selection, found)
            now.require_clear(on_conflict)
            todo = [one for one in found if one.is_written(on_conflict)]
            if todo and now.fingerprint != seen.fingerprint:
                raise RowRecoveryError("Production has changed since the preview.", "Nothing was written. Start again.")
            undo = keep_undo("".join(_undo(table, todo)).encode()) if todo else ""
            for one in todo:
                session.execute(_change(table, one.now, one.then))
            session.execute("COMMIT")
        inserted = sum(one.now is None for one in todo)
        return RecoveredRows(
            inserted={table.label: inserted},
            overwritten={table.label: len(todo) - inserted},
            sequences=(),
            finished_at=datetime.now(UTC),
            undo=undo,
        )

    def remaining(self, scratch: ScratchTarget) -> Mapping[str, Mapping[RecordState, int]]:
        return {one.table: one.counts for one in self.preview(scratch, "skip").tables}

    def _selection(self) -> tuple[Table, Selection]:
        """Understand the form, by what production's tables are. Raises RowRecoveryError."""
        name = self.wanted.table.removeprefix("main.")
        with self.live.open(RowRecoveryError) as session:
            table = next((one for one in read_tables(session) if one.name == name), None)
            if table is None:
                raise RowRecoveryError(f"{name} is no table of {self.live.path}.", "Correct the name.")
            shape = TableShape(("main", name), partitioned=False, key=table.key, key_operators=(), columns={})
            selection = select_rows(self.wanted.keys, self.wanted.condition, shape)
            session.execute(f"EXPLAIN {_query('1', table, selection)}", _values(selection))
        return table, selection


def _preview(table: Table, selection: Selection, found: Sequence[Compared]) -> Preview:
    if not found:
        raise RowRecoveryError(f"The backup has no such rows of {table.label}.", "Choose an older or a newer one.")
    return preview_of(table.label, found, len(selection.keys), EngineWords())


def _query(columns: str, table: Table, selection: Selection) -> str:
    key, places = ", ".join(map(quoted, table.key)), ", ".join("?" * len(table.key))
    wanted = selection.where or " OR ".join([f"({key}) = ({places})"] * len(selection.keys))
    return f"SELECT {columns} FROM {quoted(table.name)} WHERE ({wanted}) ORDER BY {key}"


def _values(selection: Selection) -> list[str]:
    return [value for key in selection.keys for value in key]


def _compare(session: sqlite3.Connection, scratch: Database, table: Table, selection: Selection) -> list[Compared]:
    """Read the rows from the scratch, and what production, which `session` leads to, has in their place."""
    with scratch.open(SourceError) as backup:
        query = _query(f"{table.row}, {table.names}", table, selection)
        rows = backup.execute(query, _values(selection)).fetchall()
    return [_look(session, table, then, dict(zip(table.columns, values, strict=True))) for then, *values in rows]


def _look(session: sqlite3.Connection, table: Table, then: str, row: Mapping[str, object]) -> Compared:
    def other(columns: Sequence[str], but: str = "") -> str | None:
        same = " AND ".join(f"{quoted(column)} = ?" for column in columns)
        query = f"SELECT {table.row} FROM {quoted(table.name)} WHERE {same} AND {table.row} <> ?"
        found = session.execute(query, [*(row[column] for column in columns), but]).fetchone()
        return str(found[0]) if found else None

    now = other(table.key)
    unique = _unique_indexes(session, table) if now != then else {}
    return Compared(
        key=shortened(", ".join(str(row[name]) for name in table.key)),
        values=shortened(in_words({name: value for name, value in row.items() if name not in table.key})),
        then=then.encode(),
        now=None if now is None else now.encode(),
        taken=[name for name, columns in unique.items() if other(columns, now or "")],
    )


def _unique_indexes(session: sqlite3.Connection, table: Table) -> dict[str, list[str]]:
    """Columns by name. An index of some rows, or of expressions, only stops the import itself."""
    found: dict[str, list[str]] = {}
    lists = "pragma_index_list(?) AS one, pragma_index_info(one.name) AS part"
    query = f"SELECT one.name, part.name FROM {lists} WHERE one.[unique] AND NOT one.partial"
    for index, column in session.execute(query, [table.name]).fetchall():
        found.setdefault(index, []).append(column)
    return {index: columns for index, columns in found.items() if None not in columns}


def _change(table: Table, old: bytes | None, new: bytes | None) -> str:
    """The statement that makes one row of another, while that is as it was seen. None: there is none."""
    name, columns = quoted(table.name), table.names
    if old is None:
        return f"INSERT INTO {name} ({columns}) VALUES ({(new or b'').decode()});"
    where = f"WHERE ({columns}) IS ({old.decode()});"
    return f"DELETE FROM {name} {where}" if new is None else f"UPDATE {name} SET ({columns}) = ({new.decode()}) {where}"


def _undo(table: Table, todo: Sequence[Compared]) -> Iterator[str]:
    """A script; rows that were changed since then stay."""
    yield "BEGIN;\n"
    yield from (f"{_change(table, one.then, one.now)}\n" for one in todo)
    yield "COMMIT;\n"


def _own(scratch: ScratchTarget) -> SqliteScratch:
    assert isinstance(scratch, SqliteScratch)  # no other engine makes scratches of this source
    return scratch


if TYPE_CHECKING:
    _records: type[RecordRecovery] = SqliteRecords
