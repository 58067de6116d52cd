"""One moment of a database, held still for as long as its streams run.

The tables are locked *before* the snapshot is taken. The other way round, a table that was truncated or rewritten in
between would look empty to the snapshot: a backup without its rows, and no error.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import psycopg
from psycopg import Connection, errors, sql
from psycopg.rows import TupleRow

from backup_playbook.core.errors import SourceError
from backup_playbook.engines.postgres import inventory
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.inventory import Sequence, ServerFacts, Table

log = logging.getLogger(__name__)

ATTEMPTS = 5
LOCKS_PER_STATEMENT = 500
OLDEST_SUPPORTED = 14

_NO_TIMEOUTS = (
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 0; "
    "SET row_security = off; SET search_path = pg_catalog"
)
_BLOCKERS = """
SELECT c.oid::regclass::text, a.pid, a.usename, a.application_name, left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120)
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.relation = ANY (%s) ORDER BY l.granted DESC LIMIT 3
"""


@dataclass(frozen=True)
class Contents:
    """What the snapshot shows."""

    server: ServerFacts
    tables: list[Table]
    sequences: list[Sequence]
    properties: dict[str, object]


class Snapshot:
    """An exported snapshot with locks on what will be copied. Use as a context manager."""

    def __init__(self, server: PostgresServer, lock_timeout_seconds: float) -> None:
        self._server = server
        self._lock_timeout_ms = int(lock_timeout_seconds * 1000)
        self.id = ""
        self.taken_at = datetime.min
        self.contents: Contents

    def __enter__(self) -> Self:
        self.connection = self._server.connect()
        try:
            self._refuse_poolers()
            self._prepare()
            for _ in range(ATTEMPTS):
                if self._take():
                    return self
                log.info("Tables were created or dropped meanwhile: taking the snapshot again.")
            raise SourceError(
                f"The tables of {self._server.label} changed {ATTEMPTS} times while they were being locked.",
                "Run the backup again when no migration is creating and dropping tables.",
            )
        except BaseException:
            self.connection.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.connection.close()

    def import_into(self, connection: Connection[TupleRow]) -> None:
        """Let another connection, in autocommit mode, see the same moment."""
        connection.execute(_NO_TIMEOUTS)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(self.id))

    def require_held(self) -> None:
        """Raise SourceError when the holding connection was lost: streams might then have seen another moment."""
        try:
            self.connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise SourceError(
                f"The connection that held the snapshot of {self._server.label} was lost: {str(error).strip()}",
                "Look at the server's log for a restart, an idle timeout or a terminated backend; then run it again.",
            ) from None

    def _refuse_poolers(self) -> None:
        (pid,) = self.connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone() or (0,)
        self.connection.rollback()
        if pid != self.connection.info.backend_pid:
            raise SourceError(
                f"{self._server.label} is a connection pooler (such as pgbouncer), not the server itself. A backup "
                "holds one exported snapshot across many connections, which a pooler cannot promise.",
                "Give the Airflow connection of this source the host and port of the server itself.",
            )

    def _prepare(self) -> None:
        number = self.connection.info.server_version
        if number < OLDEST_SUPPORTED * 10_000:
            raise SourceError(
                f"{self._server.label} is Postgres {number // 10_000}; backups need {OLDEST_SUPPORTED} or newer.",
                "Upgrade the server; until then, back it up with its own pg_dump.",
            )
        self.connection.execute(_NO_TIMEOUTS)
        if number >= 170_000:
            self.connection.execute("SET transaction_timeout = 0")
        self.connection.execute(sql.SQL("SET lock_timeout = {}").format(self._lock_timeout_ms))
        # names and data travel in the server's own encoding, as with pg_dump
        self.connection.execute(
            "SELECT pg_catalog.set_config('client_encoding', CASE current_setting('server_encoding') "
            "WHEN 'SQL_ASCII' THEN 'UTF8' ELSE current_setting('server_encoding') END, false)"
        )
        self.connection.commit()
        self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.connection.read_only = True

    def _take(self) -> bool:
        """Lock, then freeze the moment; False when the locked tables are not the ones that the moment shows."""
        wanted = inventory.read_tables(self.connection)
        inventory.require_readable(self.connection, wanted)
        self.connection.rollback()
        try:
            self._lock(wanted)
        except errors.UndefinedTable:
            self.connection.rollback()
            return False
        # LOCK takes no snapshot of a REPEATABLE READ transaction: this query does, and it is what all streams see
        row = self.connection.execute("SELECT pg_catalog.pg_export_snapshot(), pg_catalog.clock_timestamp()").fetchone()
        assert row is not None
        self.id, self.taken_at = row[0], row[1].astimezone(UTC)
        contents = Contents(
            server=inventory.read_server(self.connection),
            tables=inventory.read_tables(self.connection),
            sequences=inventory.read_sequences(self.connection),
            properties=inventory.read_database_properties(self.connection),
        )
        if {(table.oid, table.label) for table in contents.tables} != {(table.oid, table.label) for table in wanted}:
            self.connection.rollback()
            return False
        inventory.require_readable(self.connection, [*contents.tables, *contents.sequences])
        inventory.require_readable_large_objects(self.connection, contents.server)
        self.contents = contents
        return True

    def _lock(self, tables: list[Table]) -> None:
        names = [inventory.quoted(table.namespace, table.name) for table in tables]
        for start in range(0, len(names), LOCKS_PER_STATEMENT):
            batch = ", ".join(f"ONLY {name}" for name in names[start : start + LOCKS_PER_STATEMENT])
            try:
                self.connection.execute(f"LOCK TABLE {batch} IN ACCESS SHARE MODE".encode(self.connection.info.encoding))
            except errors.LockNotAvailable:
                self.connection.rollback()
                raise self._locked(tables) from None
            except errors.OutOfMemory:
                raise SourceError(
                    f"{self._server.label} has no room for locks on {len(tables)} tables.",
                    f"Raise max_locks_per_transaction to at least {len(tables) // 50 + 64} and restart the server.",
                ) from None

    def _locked(self, tables: list[Table]) -> SourceError:
        rows = self.connection.execute(_BLOCKERS, ([table.oid for table in tables],)).fetchall()
        who = "; ".join(f"{table} by pid {pid} ({user}, {app}): {query}" for table, pid, user, app, query in rows)
        return SourceError(
            f"A table of {self._server.label} stayed locked for {self._lock_timeout_ms / 1000:g} s"
            f"{f': {who}' if who else ''}.",
            "Wait for that migration or maintenance to end, or end it (SELECT pg_terminate_backend(pid)); then run the "
            "backup again. lock_timeout of the source says how long to wait.",
        )
