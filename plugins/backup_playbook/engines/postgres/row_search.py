"""Looks for rows in a backup: fills a scratch with the tables that they can be in, as little of them as will do.

All definitions are restored, for they are small. Of a large table, only rows that can be meant are loaded, and of its
chunks only those whose keys fit; tables that lead to themselves are loaded whole, for each step would read them again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from psycopg.rows import TupleRow

from backup_playbook.core.guards import DatabaseIdentity
from backup_playbook.core.model import ObjectKind, TablePart, TableRecord
from backup_playbook.core.row_recovery import (
    ForeignKey,
    RowRecoveryError,
    Selection,
    TableName,
    TableShape,
    label,
    search_order,
)
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.copy_commands import copy_in
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.restore import Restore, RestoreOptions
from backup_playbook.engines.postgres.row_catalog import literal, read_shape, same
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)

COMPARED_WHILE_LOADING = 100
"""With more keys than these, a table is loaded whole: COPY compares each row with one after the other."""
FOUND = '"backup_playbook".found'
"""In the scratch: which rows were meant."""

# a key may be compared by its smallest and largest value, unless its collation takes different texts for equal
_ORDERED = """
SELECT coalesce((SELECT collisdeterministic FROM pg_catalog.pg_collation c WHERE c.oid = a.attcollation), true),
       a.attcollation <> 0
FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass(%s) AND a.attname = %s
"""

_MEMBERS = """
WITH RECURSIVE tree(oid) AS (
  SELECT pg_catalog.to_regclass(%s)::oid
  UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
SELECT n.nspname::text, c.relname::text FROM tree JOIN pg_catalog.pg_class c USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""


@dataclass(frozen=True)
class _Filter:
    """Rows whose `columns` have one of `values`; or those that meet `where`."""

    columns: tuple[str, ...] = ()
    values: Sequence[tuple[str, ...]] = ()
    where: str = ""

    def condition(self) -> str:
        rows = (
            " AND ".join(
                f"{quoted(column)} = {literal(value)}" for column, value in zip(self.columns, row, strict=True)
            )
            for row in self.values
        )
        return self.where or " OR ".join(f"({row})" for row in rows) or "false"


class RowSearch(Restore):
    """The selected rows of `root`, and what refers to them by `links`, into an empty scratch.

    root: as it is in production. links: the foreign keys to follow down.
    """

    def __init__(
        self,
        server: PostgresServer,
        production: Sequence[DatabaseIdentity],
        reader: BackupReader,
        options: RestoreOptions,
        cancellation: Cancellation,
        *,
        root: TableShape,
        selection: Selection,
        links: Sequence[ForeignKey],
    ) -> None:
        super().__init__(server, production, reader, options, cancellation)
        self._root, self._selection, self._links = root, selection, links
        self._objects = {item.name: item for item in reader.manifest.objects}
        self._records = {(table.namespace, table.name): table for table in reader.manifest.tables}

    def _data(self) -> None:
        order = search_order(self._root.name, self._links)
        with self._loading("The rows") as self._session:
            self._session.execute(b"CREATE SCHEMA backup_playbook")
            self._session.execute(
                f"CREATE TABLE {FOUND} (relation oid, place tid, PRIMARY KEY (relation, place))".encode()
            )
            self._members = {table: self._stored_in(table) for group in order for table in group}
            if not self._members[self._root.name]:
                raise RowRecoveryError(
                    f"The backup {self._manifest.backup_id} has no table {self._root.label}.",
                    "Choose a backup that was taken while the table existed: list_backup_contents shows its tables.",
                )
            needed = {part.object for records in self._members.values() for record in records for part in record.parts}
            total = sum(self._objects[name].content_bytes for name in needed)
            with Progress(self._server.database, total) as self._progress:
                packs = [self._objects[name] for name in needed if self._objects[name].kind is ObjectKind.PACK]
                self._run([Job(item.content_bytes, partial(self._load_packs, [item])) for item in packs])
                for group in order:
                    self._search({table for table in group if self._members[table]})

    def _post_data(self) -> None:
        """Indexes and constraints are of no use here."""

    def _search(self, group: set[TableName]) -> None:
        """Load tables, and mark what is meant of them; of tables in a circle, until nothing more is found."""
        into = [link for link in self._links if link.child in group and self._members.get(link.parent)]
        circular = any(link.parent in group for link in into)
        for table in group:
            filters = None if circular else self._filters(table, into)
            self._run(
                [
                    Job(part.bytes, partial(self._load_part, record, part, filters))
                    for record in self._members[table]
                    for part in self._parts(record, filters)
                    if self._objects[part.object].kind is ObjectKind.TABLE
                ]
            )
        if self._root.name in group and not self._mark_selected():
            raise RowRecoveryError(
                f"None of the rows is in the backup {self._manifest.backup_id}, which has {self._root.label} as it was "
                f"at {self._manifest.snapshot_at:%Y-%m-%d %H:%M:%S %Z}.",
                "Correct the keys or the condition, or choose a backup from when the rows existed.",
            )
        while sum(self._mark_children(link) for link in into):
            pass

    def _filters(self, table: TableName, into: Sequence[ForeignKey]) -> list[_Filter]:
        if table != self._root.name:
            return [_Filter(link.child_columns, self._found_values(link.parent, link.parent_columns)) for link in into]
        if self._selection.where:
            return [_Filter(where=self._where)]
        return [_Filter(self._root.key, self._selection.keys)]

    def _parts(self, record: TableRecord, filters: list[_Filter] | None) -> list[TablePart]:
        """The chunks that can hold what is looked for."""
        parts = [part for part in record.parts if part.rows]
        first = record.key[0] if record.key else None
        if filters is None or not all(first in item.columns for item in filters):
            return parts
        assert first
        deterministic, collated = self._ask(_ORDERED, [quoted(record.namespace, record.name), first])[0]
        if not deterministic:
            return parts
        values = [row[item.columns.index(first)] for item in filters for row in item.values]
        shape = self._shape((record.namespace, record.name))
        cast = f"::{shape.columns[first].cast}" + ' COLLATE "C"' * collated
        fits = f"""SELECT number FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY part(low, high, number)
            WHERE low IS NULL OR EXISTS (SELECT FROM unnest(%s::text[]) v
                                         WHERE (v{cast}) BETWEEN (low{cast}) AND (high{cast}))"""
        rows = self._ask(fits, [[part.key_min for part in parts], [part.key_max for part in parts], values])
        log.info("%s: %d of %d chunks can hold the rows.", label(shape.name), len(rows), len(parts))
        return [parts[number - 1] for (number,) in rows]

    def _load_part(self, record: TableRecord, part: TablePart, filters: list[_Filter] | None) -> None:
        command = copy_in(record, self._manifest.details["encoding"])
        if filters is not None and sum(len(item.values) for item in filters) <= COMPARED_WHILE_LOADING:
            command = f"{command} WHERE {' OR '.join(item.condition() for item in filters)}"
        with (
            self._loading(label((record.namespace, record.name))) as connection,
            connection.transaction(),
            connection.cursor().copy(command.encode(self._codec)) as copy,
        ):
            for block in self._content(self._objects[part.object]):
                copy.write(block)

    # questions to the scratch

    @property
    def _where(self) -> str:
        return f"({self._selection.where}\n)"  # it may end with a comment

    def _mark_selected(self) -> int:
        if self._selection.where:
            # what a condition may call the table, here as in COPY
            return self._mark(self._root.name, quoted(self._root.name[1]), self._where)
        columns = {f"v{number}": column for number, column in enumerate(self._root.key)}
        arrays = [f"ARRAY[{', '.join(map(literal, values))}]" for values in zip(*self._selection.keys, strict=True)]
        casts = self._shape(self._root.name).columns
        equal = " AND ".join(f"t.{quoted(column)} = {v}::{casts[column].cast}" for v, column in columns.items())
        wanted = f"unnest({', '.join(arrays)}) v({', '.join(columns)})"
        return self._mark(self._root.name, "t", f"EXISTS (SELECT FROM {wanted} WHERE {equal})")

    def _mark_children(self, link: ForeignKey) -> int:
        equal = same("p", link.parent_columns, "t", link.child_columns)
        return self._mark(
            link.child, "t", f"EXISTS (SELECT FROM {quoted(*link.parent)} p WHERE {equal} AND {is_found('p')})"
        )

    def _mark(self, table: TableName, alias: str, condition: str) -> int:
        query = f"""INSERT INTO {FOUND} SELECT {alias}.tableoid, {alias}.ctid FROM {quoted(*table)} AS {alias}
            WHERE {condition} ON CONFLICT DO NOTHING"""
        # prepared: the server refuses more than one statement
        return self._session.execute(query.encode(self._codec), prepare=True).rowcount

    def _found_values(self, table: TableName, columns: Sequence[str]) -> list[tuple[str, ...]]:
        texts = ", ".join(f"t.{quoted(column)}::text" for column in columns)
        known = " AND ".join(f"t.{quoted(column)} IS NOT NULL" for column in columns)
        query = f"SELECT DISTINCT {texts} FROM {quoted(*table)} t WHERE {is_found('t')} AND {known}"
        return [tuple(row) for row in self._session.execute(query.encode(self._codec)).fetchall()]

    def _stored_in(self, table: TableName) -> list[TableRecord]:
        """The tables of the backup that hold its rows: itself, partitions, what inherits from it."""
        names = self._ask(_MEMBERS, [quoted(*table)])
        return [self._records[namespace, name] for namespace, name in names if (namespace, name) in self._records]

    def _shape(self, table: TableName) -> TableShape:
        shape = read_shape(self._session, table)
        assert shape
        return shape

    def _ask(self, query: str, values: Sequence[object]) -> list[TupleRow]:
        return self._session.execute(query.encode(self._codec), values).fetchall()

    def _run(self, jobs: list[Job[None]]) -> None:
        run_jobs(jobs, self._options.streams, Cancellation(self._cancellation))


def is_found(alias: str) -> str:
    return f"EXISTS (SELECT FROM {FOUND} f WHERE f.relation = {alias}.tableoid AND f.place = {alias}.ctid)"
