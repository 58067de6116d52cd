"""Search for rows in a backup: a scratch is filled with as little as will do of the tables that may have them.

All definitions are restored, for they are small. Of a large table, only rows that can be meant are loaded, and of its
chunks only those whose keys fit. A table in a circle of foreign keys is read once more for each step of it, and loaded
whole when that goes too far.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from psycopg.rows import TupleRow

from backup_playbook.core.model import ObjectKind, TablePart, TableRecord
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.core.row_tables import ForeignKey, Selection, TableName, TableShape, label, search_order
from backup_playbook.engines.postgres.copy_commands import copy_in
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.inventory import literal, quoted
from backup_playbook.engines.postgres.leave_out import drop_all_checks
from backup_playbook.engines.postgres.restore import Restore
from backup_playbook.engines.postgres.row_catalog import TREE, cast_keys, read_shape, refers, rows_of
from backup_playbook.engines.postgres.row_condition import changed_functions, evaluating, fitting, reading_nothing_else
from backup_playbook.engines.postgres.row_filter import Filter, family
from backup_playbook.engines.postgres.row_lookup import escape
from backup_playbook.streams.lines import lines_with
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)

COMPARED_WHILE_LOADING = 100
"""With more keys than these, a table is loaded whole: COPY compares each row with one after the other."""
SOUGHT_IN_TEXT = 32
"""With more keys than these, every row goes to the server: each costs a look at all bytes."""
READS = 4
"""More often than this, a table in a circle of foreign keys is not read: it is loaded whole then."""
FOUND = '"backup_playbook".found'
"""Table of the scratch: rows that are meant."""
_SELECTED = '"backup_playbook".selected'
"""View of the scratch: rows that meet the condition."""

# a key may be compared by its smallest and largest value, unless its collation takes different texts for equal
_ORDERED = """
SELECT coalesce((SELECT collisdeterministic FROM pg_catalog.pg_collation c WHERE c.oid = a.attcollation), true),
       a.attcollation <> 0
FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass(%s) AND a.attname = %s
"""

_MEMBERS = f"""
{TREE}SELECT n.nspname::text, c.relname::text FROM tree JOIN pg_catalog.pg_class c USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""


@dataclass
class RowSearch(Restore):
    """Restore of the selected rows of `root`, and of rows that refer to them by `links`, into an empty scratch.

    root: as it is in production. links: the foreign keys to follow down.
    """

    root: TableShape
    selection: Selection
    links: Sequence[ForeignKey]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._objects = {item.name: item for item in self._manifest.objects}
        self._records = {(table.namespace, table.name): table for table in self._manifest.tables}

    def _pre_data(self) -> None:
        super()._pre_data()
        with self._loading("The definitions") as connection:
            drop_all_checks(connection)

    def _data(self) -> None:
        order = search_order(self.root.name, self.links)
        with self._loading("The rows") as self._session:
            self._session.execute(b"CREATE SCHEMA backup_playbook")
            self._session.execute(
                f"CREATE TABLE {FOUND} (relation oid, place tid, selected bool DEFAULT false, "
                "PRIMARY KEY (relation, place))".encode()
            )
            self._members = {table: self._stored_in(table) for group in order for table in group}
            if not self._members[self.root.name]:
                raise RowRecoveryError(
                    f"The backup {self._manifest.backup_id} has no table {self.root.label}.",
                    "Choose a backup that was taken while the table existed: list_backup_contents shows its tables.",
                )
            self._prepare_selection()
            self.links = [link for link in self.links if self._is_known(link)]
            needed = {part.object for records in self._members.values() for record in records for part in record.parts}
            total = sum(self._objects[name].content_bytes for name in needed)
            with Progress(self.server.database, total) as self._progress:
                packs = [self._objects[name] for name in needed if self._objects[name].kind is ObjectKind.PACK]
                self._run([Job(item.content_bytes, partial(self._load_pack, item)) for item in packs])
                for tables in order:
                    self._search({table for table in tables if self._members[table]})

    def _post_data(self) -> None:
        """Indexes and constraints are of no use here."""

    def _search(self, tables: set[TableName]) -> None:
        """Load rows of these tables that can be meant, and mark those that are, until nothing more is found."""
        into = [link for link in self.links if link.child in tables and self._members.get(link.parent)]
        circular = {link.child for link in into if link.parent in tables}
        seen: dict[TableName, list[Filter]] = {table: [] for table in tables}
        whole: set[TableName] = set()
        for number in range(READS + 1):
            jobs: list[Job[None]] = []
            for table in tables - whole:
                if new := self._new_filters(table, into, seen[table]):
                    wide = number == READS or self._is_wide(table, new)
                    narrow = None if wide and table in circular else new
                    jobs += self._loads(table, narrow, seen[table], new if not wide else [])
                    seen[table] += new
                    whole |= {table} if wide else set()
            self._run(jobs)
            if self.root.name in tables and not self._mark_selected() and not number:
                raise RowRecoveryError(
                    f"None of the rows is in the backup {self._manifest.backup_id}, which has {self.root.label} as it "
                    f"was at {self._manifest.snapshot_at:%Y-%m-%d %H:%M:%S %Z}.",
                    "Correct the keys or the condition, or choose a backup from when the rows existed.",
                )
            while sum(self._mark_children(link) for link in into):
                pass
            if not jobs or not circular - whole:
                break

    def _new_filters(self, table: TableName, into: Sequence[ForeignKey], seen: Sequence[Filter]) -> list[Filter]:
        """Filters for what was found since the table was read; of the root, at first, for what is selected."""
        filters = [self._by(link) for link in into if link.child == table]
        if table == self.root.name and not seen:
            filters.append(self._by_selection())
        known = {(item.columns, value) for item in seen for value in item.values}
        left = (
            replace(item, values=[value for value in item.values if (item.columns, value) not in known])
            for item in filters
        )
        return [item for item in left if item.values or item.where]

    def _prepare_selection(self) -> None:
        """See that production's key and condition are of use here. Raises RowRecoveryError."""
        shape, condition = self._shape(self.root.name), self.selection.condition
        named = {*self.root.key, *(condition.columns if condition else ())}
        if lost := sorted(named - shape.columns.keys()):
            raise RowRecoveryError(
                f"The rows of {self.root.label} in the backup and in production have no common key, or nothing that "
                f"the condition names: {', '.join(lost)} is no column of the backup's table.",
                "Choose a backup from after the column was made; or restore the table into a database of its own "
                "(restore_database), and copy the rows manually.",
            )
        if condition is None:
            return
        if changed := changed_functions(self._session, condition):
            raise RowRecoveryError(
                f"{', '.join(changed)} did something else when the backup was taken, or was not there.",
                "Write a condition without it; or name the rows by `keys`.",
            )
        with fitting(shape):
            self._session.execute(
                f"CREATE VIEW {_SELECTED} (relation, place) AS SELECT tableoid, ctid FROM {quoted(*self.root.name)} "
                f"WHERE {condition.sql}".encode(self._codec)
            )

    def _is_known(self, link: ForeignKey) -> bool:
        """Whether a foreign key can be followed: the backup may be older than its columns."""
        sides = ((link.child, link.child_columns), (link.parent, link.parent_columns))
        known = all(not self._members.get(table) or set(names) <= self._shape(table).columns.keys()
                    for table, names in sides)  # fmt: skip
        if not known:
            log.warning("%s.%s is not followed: the backup has other columns.", label(link.child), link.name)
        return known

    def _is_wide(self, table: TableName, filters: Sequence[Filter]) -> bool:
        """Whether the table is loaded whole: too many keys, or a question that COPY does not answer."""
        generated = {name for name, column in self._shape(table).columns.items() if column.generated}
        condition = self.selection.condition
        is_plain = condition is not None and condition.plain and not generated & condition.columns
        return (
            sum(len(item.values) for item in filters) > COMPARED_WHILE_LOADING
            or any(generated & set(item.columns) for item in filters)
            or any(item.where and not is_plain for item in filters)
        )

    def _by(self, link: ForeignKey) -> Filter:
        then, now = self._shape(link.parent).columns, self._shape(link.child).columns
        pairs = zip(link.parent_columns, link.child_columns, strict=True)
        spelled = (mine for its, mine in pairs if family(then[its]) and family(then[its]) == family(now[mine]))
        values = self._found_values(link.parent, link.parent_columns)
        return Filter(link.child_columns, link.operators, values, spelled=next(spelled, None))

    def _by_selection(self) -> Filter:
        if condition := self.selection.condition:
            return Filter(where=condition.sql)
        shape, key = self._shape(self.root.name), self.root.key
        values = cast_keys(self._session, key, shape, self.selection.keys)
        spelled = (name for name in key if family(shape.columns[name]))
        return Filter(key, self.root.key_operators, values, spelled=next(spelled, None))

    def _loads(
        self, table: TableName, narrow: Sequence[Filter] | None, seen: Sequence[Filter], new: Sequence[Filter]
    ) -> Iterator[Job[None]]:
        """Jobs that load a table. narrow: filters of chunks. new: of rows; empty: all come, and replace the others."""
        records = [record for record in self._members[table]
                   if any(self._objects[part.object].kind is ObjectKind.TABLE for part in record.parts)]  # fmt: skip
        condition = " OR ".join(item.condition() for item in new)
        if seen and new:  # what was loaded then must not come again
            condition = f"({condition}) AND ({' OR '.join(item.condition() for item in seen)}) IS NOT TRUE"
        for record in records:
            if seen and not new:
                self._unload(record)
            for part in self._parts(record, narrow):
                texts = self._texts(record, new) if new else None
                yield Job(part.bytes, partial(self._load_part, record, part, condition, texts))

    def _unload(self, record: TableRecord) -> None:
        name = quoted(*record.target)
        commands = f"DELETE FROM {FOUND} WHERE relation = {literal(name)}::regclass; TRUNCATE ONLY {name}"
        self._session.execute(commands.encode(self._codec))

    def _texts(self, record: TableRecord, filters: Sequence[Filter]) -> list[bytes] | None:
        """Texts of which one is in every line that can be meant, as COPY writes it; None: too many, or not known."""
        texts: dict[bytes, None] = {}
        for item in filters:
            if item.spelled is None or not self._is_deterministic(record, item.spelled)[0]:
                return None
            place = record.columns.index(item.spelled)
            before = b"\t" if place else b"\n"
            after = b"\t" if place < len(record.columns) - 1 else b"\n"
            at = item.columns.index(item.spelled)
            texts |= {before + escape(row[at].encode(self._codec)) + after: None for row in item.values}
        return list(texts) if len(texts) <= SOUGHT_IN_TEXT else None

    def _is_deterministic(self, record: TableRecord, column: str) -> tuple[bool, bool]:
        """Whether only equal texts count as equal; and whether it is a type with a collation at all."""
        ((deterministic, collated),) = self._ask(_ORDERED, [quoted(record.namespace, record.name), column])
        return deterministic, collated

    def _parts(self, record: TableRecord, filters: Sequence[Filter] | None) -> list[TablePart]:
        """Chunks that can hold what is looked for."""
        parts = [part for part in record.parts if part.rows]
        first = record.key[0] if record.key else ""
        # without a smallest key, its type need not have an order that is found without its schema
        if filters is None or not all(first in item.columns for item in filters) or not any(p.key_min for p in parts):
            return parts
        deterministic, collated = self._is_deterministic(record, first)
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

    def _load_part(self, record: TableRecord, part: TablePart, condition: str, texts: list[bytes] | None) -> None:
        command = copy_in(record, PostgresDetails.of(self._manifest).encoding)
        if condition:
            command = f"{command} WHERE {condition}"
        content = self._content(self._objects[part.object])
        with (
            self._loading(label((record.namespace, record.name))) as connection,
            fitting(self.root) if condition else nullcontext(),  # whose errors show no rows
            connection.transaction(),
            connection.cursor().copy(command.encode(self._codec)) as copy,
        ):
            for block in content if texts is None else lines_with(content, texts):
                copy.write(block)

    # questions to the scratch

    def _mark_selected(self) -> int:
        if condition := self.selection.condition:
            with (
                fitting(self.root),
                self._session.transaction(),
                reading_nothing_else(self._session, self.root, condition),
            ):
                evaluating(self._session, condition)
                command = f"INSERT INTO {FOUND} SELECT relation, place, true FROM {_SELECTED} ON CONFLICT DO NOTHING"
                return self._session.execute(command.encode()).rowcount
        columns = {f"v{number}": column for number, column in enumerate(self.root.key)}
        pairs = zip(columns.items(), self.root.key_operators, strict=True)
        arrays = [f"ARRAY[{', '.join(map(literal, values))}]" for values in zip(*self.selection.keys, strict=True)]
        casts = self._shape(self.root.name).columns
        equal = " AND ".join(f"t.{quoted(column)} {equals} {v}::{casts[column].cast}" for (v, column), equals in pairs)
        wanted = f"unnest({', '.join(arrays)}) v({', '.join(columns)})"
        return self._mark(quoted(*self.root.name), f"EXISTS (SELECT FROM {wanted} WHERE {equal})")

    def _mark_children(self, link: ForeignKey) -> int:
        parent, child = rows_of(self._shape(link.parent)), rows_of(self._shape(link.child))
        return self._mark(child, f"EXISTS (SELECT FROM {parent} p WHERE {refers(link, 'p', 't')} AND {is_found('p')})")

    def _mark(self, rows: str, condition: str) -> int:
        query = f"INSERT INTO {FOUND} SELECT t.tableoid, t.ctid FROM {rows} t WHERE {condition} ON CONFLICT DO NOTHING"
        return self._session.execute(query.encode(self._codec)).rowcount

    def _found_values(self, table: TableName, columns: Sequence[str]) -> list[tuple[str, ...]]:
        texts = ", ".join(f"t.{quoted(column)}::text" for column in columns)
        known = " AND ".join(f"t.{quoted(column)} IS NOT NULL" for column in columns)
        query = f"SELECT DISTINCT {texts} FROM {rows_of(self._shape(table))} t WHERE {is_found('t')} AND {known}"
        return [tuple(row) for row in self._ask(query)]

    def _stored_in(self, table: TableName) -> list[TableRecord]:
        """Tables of the backup that hold its rows: itself, partitions, tables that inherit from it."""
        names = self._ask(_MEMBERS, [quoted(*table)])
        return [self._records[namespace, name] for namespace, name in names if (namespace, name) in self._records]

    def _shape(self, table: TableName) -> TableShape:
        shape = read_shape(self._session, table)
        assert shape
        return shape

    def _ask(self, query: str, values: Sequence[object] | None = None) -> list[TupleRow]:
        return self._session.execute(query.encode(self._codec), values).fetchall()

    def _run(self, jobs: list[Job[None]]) -> None:
        run_jobs(jobs, self.options.streams, Cancellation(self.cancellation))


def is_found(alias: str) -> str:
    """Write the condition that a row of the scratch was found; alias: of its table."""
    return f"EXISTS (SELECT FROM {FOUND} f WHERE f.relation = {alias}.tableoid AND f.place = {alias}.ctid)"
