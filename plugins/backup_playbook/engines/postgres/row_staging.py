"""Found rows beside those of production: in temporary tables of one transaction, compared by the server itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.masking import in_words
from backup_playbook.core.row_recovery import Conflict, OnConflict
from backup_playbook.core.row_tables import ForeignKey, TableName, TableShape, column_conflicts, label
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.row_catalog import (
    UniqueConstraint,
    columns_of,
    create_temporary,
    read_foreign_keys,
    read_shape,
    rows_of,
    said,
    same_key,
)
from backup_playbook.engines.postgres.row_search import FOUND, is_found
from backup_playbook.engines.postgres.session import known_to, set_statements

STATE = quoted("backup_playbook state")
Way = Literal["update", "anew", "parked"]
"""How rows are overwritten: by an UPDATE; deleted and inserted in one statement; or by an UPDATE after another one that
frees their unique values."""
_LOCK_TIMEOUT_MS = 10_000
_CHARACTERS_READ = 4000
_NO_ENCODING = "SQL_ASCII"

# partitions are written to through the table that they belong to, which finds the right one
_FOUND_TABLES = f"""
SELECT DISTINCT n.nspname::text, c.relname::text FROM (SELECT DISTINCT relation FROM {FOUND}) f
JOIN pg_catalog.pg_class c ON c.oid = coalesce(pg_catalog.pg_partition_root(f.relation), f.relation)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2
"""


@dataclass(frozen=True)
class StagedTable:
    """Found rows of one table in a temporary table, `name`.

    columns: those that both sides have. referred: those that foreign keys refer to.
    """

    name: str
    live: TableShape
    columns: tuple[str, ...]
    referred: frozenset[str]

    @property
    def key(self) -> tuple[str, ...]:
        """Columns of the primary key."""
        return self.live.key

    @property
    def target(self) -> str:
        """Production's table, as SQL that writes to it."""
        return quoted(*self.live.name)

    @property
    def rows(self) -> str:
        """Production's rows, as SQL for FROM."""
        return rows_of(self.live)

    def same_key(self, one: str, other: str) -> str:
        """Write `one.a = other.a AND ...`; one, other: aliases."""
        return same_key(self.live, one, other)

    def row(self, alias: str) -> str:
        """Write all values as one text, which is equal when they are."""
        return f"ROW({columns_of(alias, self.columns)})::text"


class Staging:
    """Found rows in production's session, each with its state. Everything is gone with the transaction."""

    def __init__(
        self,
        live: Connection[TupleRow],
        scratch: Connection[TupleRow],
        links: Sequence[ForeignKey],
        on_conflict: OnConflict,
    ) -> None:
        self.live, self._scratch = live, scratch
        self.links, self.on_conflict = links, on_conflict
        self.tables: list[StagedTable] = []
        self.conflicts: list[Conflict] = []
        self.ways: dict[str, Way] = {}
        """Ways by the name of the staged table; a table without one is updated."""
        self.parked: dict[str, Sequence[UniqueConstraint]] = {}
        """Constraints by the name of the staged table, whose values are freed before."""

    @property
    def written(self) -> str:
        """States of rows that are written, for SQL."""
        return "'missing', 'differs'" if self.on_conflict == "overwrite" else "'missing'"

    def load(self) -> None:
        """Copy the found rows of all tables, and compare them with production."""
        found = self._scratch.execute(_FOUND_TABLES.encode()).fetchall()
        for number, (namespace, name) in enumerate(found):
            if staged := self._stage(f"staged_{number}", (namespace, name)):
                self.tables.append(staged)
                self._compare(staged)

    def way(self, table: StagedTable) -> Way:
        """Way in which rows of the table are overwritten."""
        return self.ways.get(table.name, "update")

    def ask(self, query: str, parameters: Sequence[Any] = ()) -> list[TupleRow]:
        """Run a query in production's transaction."""
        return self.live.execute(query.encode(self.live.info.encoding), parameters or None).fetchall()

    def do(self, command: str) -> None:
        """Run a command in production's transaction."""
        self.live.execute(command.encode(self.live.info.encoding))

    def in_words(self, columns: Sequence[str], texts: Sequence[str | None]) -> str:
        """Write values, as `texts_of` reads them, for people."""
        return in_words(dict(zip(columns, map(self._readable, texts), strict=True)))

    def _readable(self, text: str | None) -> str | None:
        if text is None or self.live.info.parameter_status("server_encoding") != _NO_ENCODING:
            return text
        return text.encode(self.live.info.encoding).decode(errors="replace")

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
        referred = frozenset(column for link in self.links if link.parent == table for column in link.parent_columns)
        staged = StagedTable(name, now, columns, referred)
        listed = ", ".join(map(quoted, columns))
        create_temporary(
            self.live,
            f"CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT {listed}, 'missing'::text AS {STATE} "
            f"FROM {staged.target} WITH NO DATA",
        )
        query = f"SELECT {columns_of('t', columns)} FROM {rows_of(then)} t WHERE {is_found('t')}"
        copy_rows(self._scratch, query, self.live, f"{name} ({listed})")
        self.do(f"ANALYZE {name}")
        return staged

    def _compare(self, table: StagedTable) -> None:
        self.do(f"UPDATE {table.name} SET {STATE} = 'missing'")
        self.do(
            f"UPDATE {table.name} s SET {STATE} = CASE WHEN {table.row('s')} = {table.row('t')} THEN 'equal' "
            f"ELSE 'differs' END FROM {table.rows} t WHERE {table.same_key('s', 't')}"
        )
        self.do(f"ANALYZE {table.name}")  # else the server takes it that no row is missing

    def _cannot(self, table: str, kind: Literal["table gone", "no primary key"], what: str) -> None:
        choices = "`children: skip` goes on without it, when it is not the table that you named."
        self.conflicts.append(Conflict(table=table, kind=kind, what=what, choices=choices))


@contextmanager
def staged_rows(live: PostgresServer, scratch: PostgresServer, on_conflict: OnConflict) -> Iterator[Staging]:
    """Stage the found rows in a transaction on production, rolled back unless it is committed within the block.

    Raises RestoreError, SourceError.
    """
    with both_sides(live, scratch) as (here, there):
        staging = Staging(here, there, read_foreign_keys(here), on_conflict)
        staging.load()
        yield staging


@contextmanager
def both_sides(
    live: PostgresServer, scratch: PostgresServer
) -> Iterator[tuple[Connection[TupleRow], Connection[TupleRow]]]:
    """Open transactions on production and the scratch, see `staged_rows`."""
    with scratch.connect() as there, live.connect() as here:
        try:
            # local: behind a pooler, what a commit leaves set would meet the application's next transaction
            for connection in (there, here):
                connection.execute(b"SET TRANSACTION READ WRITE")
                settings = {**known_to(connection.info.server_version), "lock_timeout": str(_LOCK_TIMEOUT_MS)}
                connection.execute(set_statements(settings, local=True).encode())
            _speak_alike(there, here)
            yield here, there
        except psycopg.Error as error:
            # without its traceback, which has values of rows in it
            raise RestoreError(
                f"The rows could not be compared with, or brought to {live.label}: {_in_full(error)}",
                f"Nothing was written. {_remedy(error)}",
            ) from None
        here.rollback()


def copy_rows(there: Connection[TupleRow], query: str, here: Connection[TupleRow], into: str) -> None:
    """Copy the rows of a query there into a table here; into: its name and columns."""
    out = f"COPY ({query}) TO STDOUT".encode(there.info.encoding)
    with (
        there.cursor().copy(out) as rows,
        here.cursor().copy(f"COPY {into} FROM STDIN".encode(here.info.encoding)) as copy,
    ):
        for block in rows:
            copy.write(block)


def _speak_alike(there: Connection[TupleRow], here: Connection[TupleRow]) -> None:
    """Set one encoding for both: LATIN1 has a character for any byte, where one database is of no encoding."""
    unknown = any(session.info.parameter_status("server_encoding") == _NO_ENCODING for session in (there, here))
    encoding = "LATIN1" if unknown else there.info.parameter_status("client_encoding")
    for connection in (there, here):
        connection.execute("SELECT pg_catalog.set_config('client_encoding', %s, true)", [encoding])


def _in_full(error: psycopg.Error) -> str:
    of = (("constraint", error.diag.constraint_name), ("column", error.diag.column_name), ("in", error.diag.table_name))
    named = ", ".join(f"{word} {name}" for word, name in of if name)
    return said(error) + (f" ({named})" if named else "")


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


def texts_of(alias: str, columns: Sequence[str]) -> str:
    """Write an array of the beginnings of all values as text, for people."""
    values = (f"left({alias}.{quoted(name)}::text, {_CHARACTERS_READ})" for name in columns)
    return f"ARRAY[{', '.join(values)}]"
