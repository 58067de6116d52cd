"""Found rows beside those of production: in temporary tables of one transaction, compared by the server itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from backup_playbook.core.holdings import counted
from backup_playbook.core.row_recovery import (
    HIDDEN,
    Conflict,
    ForeignKey,
    OnConflict,
    Preview,
    PreviewRow,
    State,
    TableName,
    TablePreview,
    TableShape,
    column_conflicts,
    is_confidential,
    label,
    shortened,
)
from backup_playbook.engines.postgres.connection import PostgresServer, told
from backup_playbook.engines.postgres.inventory import literal, quoted
from backup_playbook.engines.postgres.row_catalog import (
    UniqueConstraint,
    columns_of,
    read_constraints,
    read_foreign_keys,
    read_shape,
    refers,
    same_key,
)
from backup_playbook.engines.postgres.row_search import FOUND, is_found
from backup_playbook.engines.postgres.session import known_to, set_statements

ROWS_SHOWN = 20
STATE = quoted("backup_playbook state")
_LOCK_TIMEOUT_MS = 10_000

# partitions are written to through the table that they belong to, which finds the right one
_FOUND_TABLES = f"""
SELECT DISTINCT n.nspname::text, c.relname::text FROM (SELECT DISTINCT relation FROM {FOUND}) f
JOIN pg_catalog.pg_class c ON c.oid = coalesce(pg_catalog.pg_partition_root(f.relation), f.relation)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2
"""


@dataclass(frozen=True)
class StagedTable:
    """Rows of one table. name: of the temporary table. columns: those that both sides have."""

    name: str
    live: TableShape
    columns: tuple[str, ...]

    @property
    def key(self) -> tuple[str, ...]:
        return self.live.key

    @property
    def target(self) -> str:
        return quoted(*self.live.name)

    def same_key(self, one: str, other: str) -> str:
        return same_key(self.live, one, other)

    def row(self, alias: str) -> str:
        """All values as one text: equal when they are."""
        return f"ROW({columns_of(alias, self.columns)})::text"


class Staging:
    """The found rows in production's session, each with its state. Everything is gone with the transaction."""

    def __init__(self, live: Connection[TupleRow], scratch: Connection[TupleRow], links: Sequence[ForeignKey]) -> None:
        self.live, self._scratch = live, scratch
        self.links = links
        self.tables: list[StagedTable] = []
        self.conflicts: list[Conflict] = []

    def load(self) -> None:
        found = self._scratch.execute(_FOUND_TABLES.encode()).fetchall()
        for number, (namespace, name) in enumerate(found):
            if staged := self._stage(f"staged_{number}", (namespace, name)):
                self.tables.append(staged)
        for table in self.tables:
            self._compare(table)
            for constraint in read_constraints(self.live, table.live.name):
                self._find_taken(table, constraint)

    def preview(self, on_conflict: OnConflict) -> Preview:
        tables = [self._preview(table) for table in self.tables]
        conflicts = [*self.conflicts, *self._reused(), *self._orphans(on_conflict)]
        return Preview(
            tables=tuple(tables),
            conflicts=tuple(conflicts),
            remarks=tuple(self._remarks()),
            fingerprint=self._fingerprint(),
        )

    def ask(self, query: str, parameters: Sequence[Any] = ()) -> list[TupleRow]:
        return self.live.execute(query.encode(self.live.info.encoding), parameters or None).fetchall()

    def do(self, command: str) -> int:
        return self.live.execute(command.encode(self.live.info.encoding)).rowcount

    # rows from one server to the other

    def _stage(self, name: str, table: TableName) -> StagedTable | None:
        then, now = read_shape(self._scratch, table), read_shape(self.live, table)
        assert then
        if now is None:
            self._cannot(label(table), "table gone", "Production has no such table any more.")
            return None
        if not now.key or not set(now.key) <= set(then.stored):
            self._cannot(now.label, "no primary key", "Its rows of the backup and of production have no common key.")
            return None
        self.conflicts += column_conflicts(then, now)
        columns = tuple(column for column in then.stored if column in now.stored)
        staged = StagedTable(name, now, columns)
        listed = ", ".join(map(quoted, columns))
        self.do(
            f"CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT {listed}, 'missing'::text AS {STATE} "
            f"FROM {staged.target} WITH NO DATA"
        )
        source = f"{'' if then.partitioned else 'ONLY '}{quoted(*table)} t"
        out = f"COPY (SELECT {columns_of('t', columns)} FROM {source} WHERE {is_found('t')}) TO STDOUT"
        into = f"COPY {name} ({listed}) FROM STDIN"
        with (
            self._scratch.cursor().copy(out.encode(self._scratch.info.encoding)) as rows,
            self.live.cursor().copy(into.encode(self.live.info.encoding)) as copy,
        ):
            for block in rows:
                copy.write(block)
        self.do(f"ANALYZE {name}")
        return staged

    # comparison

    def _compare(self, table: StagedTable) -> None:
        self.do(f"UPDATE {table.name} SET {STATE} = 'missing'")
        self.do(
            f"UPDATE {table.name} s SET {STATE} = CASE WHEN {table.row('s')} = {table.row('t')} THEN 'equal' "
            f"ELSE 'differs' END FROM {table.target} t WHERE {table.same_key('s', 't')}"
        )

    def _find_taken(self, table: StagedTable, constraint: UniqueConstraint) -> None:
        """Missing rows whose unique values another row of production has now."""
        names = [f"u{number}" for number in range(len(constraint.expressions))]
        values = ", ".join(f"{text} AS {name}" for text, name in zip(constraint.expressions, names, strict=True))
        key = columns_of("x", table.key)
        meets = " AND ".join(f"s.{name} {op} t.{name}" for name, op in zip(names, constraint.operators, strict=True))
        inner = "SELECT {0}, {1} FROM {2} x WHERE ({3}){4}"
        staged = inner.format(values, key, table.name, constraint.condition, f" AND {STATE} = 'missing'")
        live = inner.format(values, key, table.target, constraint.condition, "")
        query = (
            f"UPDATE {table.name} o SET {STATE} = 'taken' FROM ({staged}) s JOIN ({live}) t ON {meets} "
            f"WHERE {table.same_key('o', 's')} RETURNING {_text('s', table.key)}, {_text('t', table.key)}"
        )
        try:
            with self.live.transaction():
                taken = self.ask(query)
        except errors.UndefinedColumn:
            return  # of a new or generated column: the import itself meets it
        if taken:
            pairs = "; ".join(f"{mine} meets {theirs}" for mine, theirs in taken[:ROWS_SHOWN])
            conflict = Conflict(
                table=table.live.label,
                kind="unique value taken",
                what=f"Another row has now the value of {constraint.name} of {counted(len(taken), 'row')}: {pairs}.",
                choices="`skip` leaves these rows out; or change the other row first.",
                solved_by=("skip",),
            )
            self.conflicts.append(conflict)

    def _reused(self) -> Iterator[Conflict]:
        for table in self.tables:
            rows = self.ask(f"SELECT {_text('s', table.key)} FROM {table.name} s WHERE {STATE} = 'differs'")
            if rows:
                yield Conflict(
                    table=table.live.label,
                    kind="key reused",
                    what=f"{counted(len(rows), 'row')} with other values now: {_keys(rows)}.",
                    choices="`skip` leaves them as they are; `overwrite` puts the rows of the backup in their place.",
                    solved_by=("skip", "overwrite"),
                )

    def _orphans(self, on_conflict: OnConflict) -> Iterator[Conflict]:
        """Rows whose parent is neither in production nor among those that will be inserted."""
        staged = {table.live.name: table for table in self.tables}
        written = written_states(on_conflict)
        for link in self.links:
            child, parent = staged.get(link.child), staged.get(link.parent)
            if child is None or not set(link.child_columns) <= set(child.columns):
                continue
            known = " AND ".join(f"s.{quoted(column)} IS NOT NULL" for column in link.child_columns)
            equal = refers(link, "p", "s")
            among = (
                f"AND NOT EXISTS (SELECT FROM {parent.name} p WHERE p.{STATE} = 'missing' AND {equal})"
                if parent
                else ""
            )
            rows = self.ask(
                f"SELECT DISTINCT {_text('s', link.child_columns)} FROM {child.name} s WHERE s.{STATE} IN ({written}) "
                f"AND {known} AND NOT EXISTS (SELECT FROM {quoted(*link.parent)} p WHERE {equal}) {among}"
            )
            if rows:
                whose, missing = label(link.parent), counted(len(rows), "row")
                yield Conflict(
                    table=label(link.child),
                    kind="parent gone",
                    what=f"By {link.name} it refers to {missing} missing from {whose}: {_keys(rows)}.",
                    choices=f"Recover these rows of {whose} first; what refers to them comes with them.",
                )

    def _preview(self, table: StagedTable) -> TablePreview:
        counts: dict[State, int] = dict(self.ask(f"SELECT {STATE}, count(*) FROM {table.name} GROUP BY 1"))
        values = _text("s", table.columns, is_confidential)
        shown = self.ask(
            f"SELECT {_text('s', table.key)}, s.{STATE}, {values} FROM {table.name} s "
            f"ORDER BY s.{STATE} = 'equal', {columns_of('s', table.key)} LIMIT {ROWS_SHOWN}"
        )
        rows = [PreviewRow(key=shortened(key), state=state, values=shortened(values)) for key, state, values in shown]
        return TablePreview(table=table.live.label, counts=counts, rows=tuple(rows))

    def _remarks(self) -> Iterator[str]:
        parents = {table.live.name for table in self.tables}
        for link in self.links:
            if link.parent in parents and link.on_delete.startswith("set "):
                yield (
                    f"Where {label(link.child)} referred to these rows of {label(link.parent)}, the deletion did "
                    f"{link.on_delete.upper()} ({link.name}): that is not undone."
                )
        for table in self.tables:
            if oids := [name for name in table.columns if table.live.columns[name].type == "oid"]:
                yield f"{table.live.label}: large objects that {', '.join(oids)} may name are not brought back."

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for table in self.tables:
            rows = self.ask(
                f"SELECT md5(string_agg(part, ',' ORDER BY part)) FROM (SELECT md5({table.row('s')} || s.{STATE} || "
                f"coalesce({table.row('t')}, '')) AS part FROM {table.name} s LEFT JOIN {table.target} t "
                f"ON {table.same_key('s', 't')}) parts"
            )
            digest.update(f"{table.live.label} {rows}".encode())
        return digest.hexdigest()

    def _cannot(self, table: str, kind: Literal["table gone", "no primary key"], what: str) -> None:
        choices = "`children: skip` goes on without it, when it is not the table that you named."
        self.conflicts.append(Conflict(table=table, kind=kind, what=what, choices=choices))


@contextmanager
def staged_rows(live: PostgresServer, scratch: PostgresServer) -> Iterator[Staging]:
    """A transaction on production, rolled back unless it is committed meanwhile. Raises RestoreError, SourceError."""
    with (
        told(
            f"The rows could not be compared with, or brought to {live.label}",
            lambda error: f"Nothing was written. {_remedy(error)}",
        ),
        scratch.connect() as there,
        live.connect() as here,
    ):
        # local: behind a pooler, what a commit leaves set would meet the application's next transaction
        for connection in (there, here):
            connection.execute(b"SET TRANSACTION READ WRITE")
            settings = {**known_to(connection.info.server_version), "lock_timeout": str(_LOCK_TIMEOUT_MS)}
            connection.execute(set_statements(settings, local=True).encode())
        here.execute(
            "SELECT pg_catalog.set_config('client_encoding', %s, true)",
            [there.info.parameter_status("client_encoding")],
        )
        staging = Staging(here, there, read_foreign_keys(here))
        staging.load()
        yield staging
        here.rollback()


def _remedy(error: psycopg.Error) -> str:
    if isinstance(error, errors.LockNotAvailable):
        return (
            f"Another session kept one of these tables locked for {_LOCK_TIMEOUT_MS // 1000} s: see which (SELECT "
            "relation::regclass, pid FROM pg_locks WHERE mode LIKE '%Exclusive%'), wait for it or end it, and clear "
            "this task."
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return "Give the role of this source's `recovery` connection what is missing, and clear this task."
    if isinstance(error, psycopg.OperationalError):
        return "Look at the server's log for this time, and clear this task."
    return "Correct in production what this names, or choose other rows, and start this recovery again."


def settable(table: StagedTable, columns: Sequence[str]) -> list[str]:
    """The columns that an UPDATE may give a value; at least the key's own, which it has already."""
    others = [name for name in columns if name not in table.key and table.live.columns[name].identity != "a"]
    return others or list(table.key)


def written_states(on_conflict: OnConflict) -> str:
    return "'missing', 'differs'" if on_conflict == "overwrite" else "'missing'"


def _keys(rows: Sequence[tuple[str]]) -> str:
    return "; ".join(key for (key,) in rows[:ROWS_SHOWN])


def _text(alias: str, columns: Sequence[str], hide: Callable[[str], bool] = lambda _: False) -> str:
    """`a=1, b=2`, for people."""
    values = (
        literal(f"{name}={HIDDEN}") if hide(name)
        else f"{literal(f'{name}=')} || coalesce({alias}.{quoted(name)}::text, 'NULL')"
        for name in columns
    )  # fmt: skip
    return f"array_to_string(ARRAY[{', '.join(values)}], ', ')"
