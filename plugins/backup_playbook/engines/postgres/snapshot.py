"""Snapshot of a database, held for as long as its streams run.

The tables are locked *before* the snapshot is taken. The other way round, a table that was truncated or rewritten in
between would look empty to the snapshot: a backup without its rows, and no error.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import psycopg
from psycopg import Connection, errors, sql
from psycopg.rows import TupleRow

from backup_playbook.core.errors import SourceError
from backup_playbook.core.progress import human_age
from backup_playbook.engines.postgres import inventory, session
from backup_playbook.engines.postgres.connection import PostgresServer, may_be_quiet, require_no_pooler
from backup_playbook.engines.postgres.details import Excluded, Extension, Roles
from backup_playbook.engines.postgres.excluded import read_excluded
from backup_playbook.engines.postgres.inventory import Sequence, ServerFacts, Table
from backup_playbook.engines.postgres.types import Types, changed, read_types

log = logging.getLogger(__name__)

ATTEMPTS = 5
LOCKS_PER_STATEMENT = 500
OLDEST_SUPPORTED = 14
STALE_AFTER = timedelta(hours=1)
"""Limit of how far a standby may be behind its primary; the backup says which time it shows."""

# errors of a LOCK statement when the tables have changed since they were listed
_CHANGED_MEANWHILE = (
    errors.UndefinedTable,
    errors.InvalidSchemaName,
    errors.WrongObjectType,
    errors.InsufficientPrivilege,
    errors.DeadlockDetected,
)
_BLOCKERS = """
SELECT c.oid::regclass::text, CASE WHEN p.gid IS NULL
    THEN format('pid %s (%s): %s', l.pid, a.usename, left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120))
    ELSE format('a prepared transaction of %s (end it: ROLLBACK PREPARED %L, or COMMIT PREPARED)', p.owner, p.gid) END
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
  AND x.locktype = 'transactionid'
LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND c.relpersistence <> 't'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
ORDER BY l.granted DESC LIMIT 3
"""
# The time that it shows: a standby that follows, and has replayed all that it got, is where its primary is.
_EXPORT = """
SELECT pg_catalog.pg_export_snapshot(), CASE WHEN pg_catalog.pg_is_in_recovery() AND (
    NOT EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)
    OR pg_catalog.pg_last_wal_receive_lsn() IS DISTINCT FROM pg_catalog.pg_last_wal_replay_lsn())
  THEN coalesce(pg_catalog.pg_last_xact_replay_timestamp(),
                (SELECT checkpoint_time FROM pg_catalog.pg_control_checkpoint()))
  ELSE pg_catalog.clock_timestamp() END, pg_catalog.clock_timestamp()
"""
_NAMES = """
SELECT c.oid::bigint, n.nspname || '.' || c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (%s)
"""


@dataclass(frozen=True)
class Contents:
    """Contents of the database in the snapshot."""

    server: ServerFacts
    tables: list[Table]
    sequences: list[Sequence]
    extensions: list[Extension]
    roles: Roles
    properties: dict[str, object]
    excluded: Excluded
    types: Types


class Snapshot:
    """An exported snapshot with locks on what will be copied. Use as a context manager."""

    def __init__(self, server: PostgresServer, lock_timeout_seconds: float) -> None:
        self.server = server
        """Once connected: the one that holds the snapshot, where the address could mean several."""
        self._lock_timeout_seconds = lock_timeout_seconds
        self.settings: dict[str, str] = {}
        self.id = ""
        self.taken_at = datetime.min.replace(tzinfo=UTC)
        self.contents: Contents

    def __enter__(self) -> Self:
        self.connection = self._connected()
        self.server = self.server.reached_by(self.connection)
        try:
            self._refuse_poolers()
            self._prepare()
            self._take_one()
        except errors.LockNotAvailable:
            self.connection.rollback()
            error = self.locked()
            self.connection.close()
            raise error from None
        except BaseException:
            self.connection.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def _connected(self) -> Connection[TupleRow]:
        """Connect, without the triggers of a login if one forbids it."""
        try:
            return self.server.connect()
        except SourceError as error:
            if "FATAL: " not in error.what:
                raise
            quiet = self.server.quiet()
            try:
                connection = quiet.connect()
            except SourceError:
                raise error from None
            self.server = quiet
            return connection

    @property
    def options(self) -> str:
        """PGOPTIONS of pg_dump: settings of a database, such as quote_all_identifiers, do not change its text."""
        return f"{self.server.keywords.get('options', '')} {session.libpq_options(self.settings)}".strip()

    def connect(self) -> Connection[TupleRow]:
        """Open another connection that sees the snapshot."""
        connection = self.server.connect(autocommit=True)
        try:
            self._settle(connection)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(self.id))
        except BaseException:
            connection.close()
            raise
        return connection

    def require_held(self) -> None:
        """Raise SourceError when the streams might have seen something else than the snapshot.

        The holding connection may have been lost, or tables and types have changed: no lock prevents that a schema is
        renamed, and streams go by names.
        """
        try:
            self.connection.execute("SELECT 1")
            with self.server.connect(autocommit=True) as present:
                self._settle(present)
                rows = present.execute(_NAMES, [[table.oid for table in self.contents.tables]]).fetchall()
                other_types = changed(self.contents.types, read_types(present))
        except psycopg.Error as error:
            raise SourceError(
                f"The connection that held the snapshot of {self.server.label} was lost: {str(error).strip()}",
                "Look at the server's log for a restart, an idle timeout or a terminated backend; then run it again.",
            ) from None
        now: dict[int, str] = dict(rows)
        if moved := [table for table in self.contents.tables if now.get(table.oid) != table.label]:
            raise SourceError(
                f"A schema of {self.server.label} was renamed while it was being read: {moved[0].label} is "
                f"{now.get(moved[0].oid)} now. Rows of another table may have been read in its place.",
                "Nothing was kept. Run it again when that migration has ended.",
            )
        if other_types:
            raise SourceError(
                f"A type of {self.server.label} was changed while it was being read: {other_types[0]}. Rows may have "
                "been written with labels or attributes that they did not have.",
                "Nothing was kept. Run it again when that migration has ended.",
            )

    def _refuse_poolers(self) -> None:
        why = "A backup holds one exported snapshot across many connections, which a pooler cannot promise."
        require_no_pooler(self.connection, self.server.label, why)
        self.connection.rollback()

    def _prepare(self) -> None:
        number = self.connection.info.server_version
        require_supported(self.server.label, number)
        if may_be_quiet(self.connection):
            self.server = self.server.quiet()  # one login is enough for a trigger to note
        self.settings = session.reading(number, self._lock_timeout_seconds)
        self._settle(self.connection)
        self.connection.commit()
        self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.connection.read_only = True

    def _settle(self, connection: Connection[TupleRow]) -> None:
        connection.execute(session.set_statements(self.settings).encode())

    def _take_one(self) -> None:
        for _ in range(ATTEMPTS):
            if self._take():
                return
            log.info("Tables were created or dropped meanwhile: taking the snapshot again.")
        raise SourceError(
            f"The tables of {self.server.label} changed {ATTEMPTS} times while they were being locked.",
            "Run the backup again when no migration is creating and dropping tables.",
        )

    def _take(self) -> bool:
        """Lock, then take the snapshot; False when it shows other tables than those that were locked."""
        wanted = inventory.read_tables(self.connection)
        inventory.require_readable(self.connection, wanted)
        self.connection.rollback()
        try:
            self._lock(wanted)
        except _CHANGED_MEANWHILE:
            self.connection.rollback()
            return False
        # LOCK takes no snapshot of a REPEATABLE READ transaction: this query does, and it is what all streams see
        row = self.connection.execute(_EXPORT).fetchone()
        assert row is not None
        self.id, self.taken_at = row[0], row[1].astimezone(UTC)
        self._require_fresh(row[2])
        contents = Contents(
            server=inventory.read_server(self.connection),
            tables=inventory.read_tables(self.connection),
            sequences=inventory.read_sequences(self.connection),
            extensions=inventory.read_extensions(self.connection),
            roles=inventory.read_roles(self.connection),
            properties=inventory.read_database_properties(self.connection),
            excluded=read_excluded(self.connection),
            types=read_types(self.connection),
        )
        if {(table.oid, table.label) for table in contents.tables} != {(table.oid, table.label) for table in wanted}:
            self.connection.rollback()
            return False
        inventory.require_readable(self.connection, [*contents.tables, *contents.sequences])
        inventory.require_readable_large_objects(self.connection, contents.server)
        inventory.require_damage_to_show(contents.server, self.server.label)
        self.contents = contents
        return True

    def _require_fresh(self, now: datetime) -> None:
        """Raise SourceError for a standby that is behind: if its replication has ended, all backups would be old."""
        if (behind := now - self.taken_at) > STALE_AFTER:
            raise SourceError(
                f"{self.server.label} is a standby that is {human_age(behind)} behind: what it has ends at "
                f"{self.taken_at:%Y-%m-%d %H:%M:%S} UTC.",
                "Look at its log and pg_stat_wal_receiver for why it does not follow (pg_get_wal_replay_pause_state(), "
                "recovery_min_apply_delay), and run the backup again when it does; or back up the primary.",
            )

    def _lock(self, tables: list[Table]) -> None:
        names = [inventory.quoted(table.namespace, table.name) for table in tables]
        for start in range(0, len(names), LOCKS_PER_STATEMENT):
            batch = ", ".join(f"ONLY {name}" for name in names[start : start + LOCKS_PER_STATEMENT])
            try:
                self.connection.execute(
                    f"LOCK TABLE {batch} IN ACCESS SHARE MODE".encode(self.connection.info.encoding)
                )
            except errors.OutOfMemory:
                raise SourceError(
                    f"{self.server.label} has no room for locks on {len(tables)} tables.",
                    f"Raise max_locks_per_transaction to at least {len(tables) // 50 + 64} and restart the server.",
                ) from None

    def locked(self) -> SourceError:
        """Error for a lock that was not granted in time; it names who stands in the way."""
        rows = self.connection.execute(_BLOCKERS).fetchall()
        who = "; ".join(f"{table} by {holder}" for table, holder in rows)
        return SourceError(
            f"A table of {self.server.label} stayed locked for {self._lock_timeout_seconds:g} s"
            f"{f': {who}' if who else ''}.",
            "Wait for that migration or maintenance to end, or end it (SELECT pg_terminate_backend(pid)); then run the "
            "backup again. lock_timeout of the source says how long to wait.",
        )


def require_supported(label: str, version_number: int) -> None:
    """Raise SourceError for a server whose tables cannot be read by ranges of pages."""
    if version_number < OLDEST_SUPPORTED * 10_000:
        raise SourceError(
            f"{label} is Postgres {version_number // 10_000}; backups need {OLDEST_SUPPORTED} or newer.",
            "Upgrade the server; until then, back it up with its own pg_dump.",
        )
