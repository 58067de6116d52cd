"""Promotion of a copy: it replaces the live database, while clients keep trying to connect.

`core.promotion` has the states, and how a run goes on that died between two statements.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from backup_playbook.core.errors import PlaybookError, RestoreError
from backup_playbook.core.promotion import Promoted, State
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.handover import (
    allow_connections,
    comment_of,
    hand_over,
    rename_database,
    set_comment,
)
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.quarantine import mark_of
from backup_playbook.engines.postgres.swap import DatabaseEntry, Swap
from backup_playbook.engines.quarantine import Quarantine

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
_LOOK_SECONDS = 0.02
_SESSIONS_NAMED = 5
# A vacuum has no role; it gives way to the rename by itself, and only superusers may end it. Without pg_read_all_stats,
# `backend_type` and all that tells who it is are null for others' sessions.
_SESSIONS = """
SELECT pid, format('%%s (pid %%s, %%s, from %%s)', coalesce(nullif(application_name, ''), 'unnamed'), pid,
                   usename, coalesce(client_addr::text, '?'))
FROM pg_catalog.pg_stat_activity
WHERE datid = ANY (%s) AND pid <> pg_catalog.pg_backend_pid() AND usesysid IS NOT NULL
"""
_DATABASES = "SELECT datname::text, oid::bigint, datallowconn FROM pg_catalog.pg_database WHERE datname = ANY (%s)"
_LOCK = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('backup_playbook promotion'), %s::int)"


@dataclass(frozen=True)
class Promotion:
    """Promotion of a candidate to the name of the live database.

    server: leads to neither of the two, as a role with the rights that `inspect_live` asks for. returning: the
    candidate is this quarantine, which has its own owner, grants and settings.
    """

    server: PostgresServer
    swap: Swap
    source: str
    by: str
    now: datetime
    returning: Quarantine | None = None
    drain_seconds: float = DRAIN_SECONDS

    def run(self) -> Promoted:
        """Promote the candidate; can be repeated.

        Raises GuardError when they are not what was planned, RestoreError otherwise; the live database then is as it
        was, and accepts connections.
        """
        with self._connect() as connection:
            state = self.state(connection)
            if state == "promoted":
                log.info("%s was promoted by an earlier try.", self.swap.live)
                return Promoted(0.0, 0)
            with self._reopening(connection):
                return self._promote(connection)

    def reopen(self) -> State:
        """Let the live database accept connections again, after a run that died. Returns the state that was found."""
        with self._connect() as connection:
            state = self.state(connection)
            if state == "closed":
                allow_connections(connection, self.swap.live, allow=True)
            return state

    def state(self, connection: Connection[TupleRow]) -> State:
        """Find out how far the promotion has come. Raises GuardError for databases that were not planned."""
        names = [self.swap.live, self.swap.candidate, self.swap.quarantine]
        rows = connection.execute(_DATABASES, [names]).fetchall()
        return self.swap.state({name: DatabaseEntry(oid, allows) for name, oid, allows in rows})

    def _promote(self, connection: Connection[TupleRow]) -> Promoted:
        swap, comment = self.swap, comment_of(connection, self.swap.live)
        mark = mark_of(Quarantine(swap.quarantine, self.source, swap.live, self.now, self.by, comment))
        if self.returning:
            comment = self.returning.comment
        else:
            hand_over(connection, swap.live, swap.candidate)
        started = time.monotonic()
        allow_connections(connection, swap.live, allow=False)
        ended = self._drain(connection)
        with connection.transaction():
            rename_database(connection, swap.live, swap.quarantine)
            rename_database(connection, swap.candidate, swap.live)
            set_comment(connection, swap.quarantine, mark)
            set_comment(connection, swap.live, comment)
            allow_connections(connection, swap.live, allow=True)
        return Promoted(time.monotonic() - started, ended)

    def _drain(self, connection: Connection[TupleRow]) -> int:
        """End all sessions of both databases; new ones are refused. Returns how many there were."""
        ended: set[int] = set()
        deadline = time.monotonic() + self.drain_seconds
        while sessions := self._sessions(connection):
            if time.monotonic() > deadline:
                names = ", ".join(list(sessions.values())[:_SESSIONS_NAMED])
                raise RestoreError(
                    f"{len(sessions)} sessions of {self.swap.live} did not end in {self.drain_seconds:g} s: {names}.",
                    "Nothing was renamed, and the database accepts connections again. End them manually "
                    "(SELECT pg_terminate_backend(pid), as a superuser if they are one's), and clear this task.",
                )
            for pid in sessions:
                ended.add(pid)
                self._terminate(connection, pid)
            time.sleep(_LOOK_SECONDS)
        return len(ended)

    def _sessions(self, connection: Connection[TupleRow]) -> dict[int, str]:
        """Sessions of both databases by pid, in words."""
        rows = connection.execute(_SESSIONS, [[self.swap.live_oid, self.swap.candidate_oid]]).fetchall()
        return dict(rows)

    @staticmethod
    def _terminate(connection: Connection[TupleRow], pid: int) -> None:
        try:
            connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
        except errors.InsufficientPrivilege as error:
            log.warning("The session of pid %s may not be ended: %s", pid, error)

    @contextmanager
    def _connect(self) -> Iterator[Connection[TupleRow]]:
        """Connect, and let no other promotion of this live database run."""
        with self.server.connect(autocommit=True) as connection:
            connection.execute("SET lock_timeout = '10s'; SET statement_timeout = '60s'; SET search_path = pg_catalog")
            connection.execute("SET default_transaction_read_only = off")
            row = connection.execute(_LOCK, [self.swap.live_oid & 0x7FFFFFFF]).fetchone()
            if not row or not row[0]:
                raise RestoreError(
                    f"Another recovery replaces {self.swap.live} now.",
                    "Wait for it to end, and look at its report before you start another one.",
                )
            yield connection

    @contextmanager
    def _reopening(self, connection: Connection[TupleRow]) -> Iterator[None]:
        """Let the live database accept connections again after any error, which says so, or why not."""
        try:
            yield
        except Exception as error:
            left = self._try_to_reopen(connection)
            if isinstance(error, RestoreError) and not left:
                raise
            what = error.what if isinstance(error, RestoreError) else str(error).strip()
            left = left or "It is as it was, and accepts connections."
            raise RestoreError(
                f"{self.swap.live} could not be replaced: {what} {left}", _remedy(error, self.swap)
            ) from error

    def _try_to_reopen(self, connection: Connection[TupleRow]) -> str:
        """Return why it did not work; empty: it did."""
        try:
            if connection.closed:
                self.reopen()
            elif self.state(connection) == "closed":
                allow_connections(connection, self.swap.live, allow=True)
        except (psycopg.Error, PlaybookError) as error:
            return (
                f"PRODUCTION REFUSES CONNECTIONS (state `closed`), and could not be opened: {str(error).strip()} "
                "Clear this task, or, as a superuser in another database: "
                f"ALTER DATABASE {quoted(self.swap.live)} ALLOW_CONNECTIONS true;"
            )
        return ""


def _remedy(error: Exception, swap: Swap) -> str:
    if isinstance(error, errors.ObjectInUse):
        return (
            "Look for prepared transactions (SELECT * FROM pg_prepared_xacts) and background workers of "
            f"{swap.live}, end them, and clear this task."
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return "Give the role of `recovery.connection` the rights that the plan asks for, and clear this task."
    if isinstance(error, psycopg.OperationalError):
        return "Look at the server's log: the connection was lost. Then clear this task; it goes on where it was."
    return "Correct what the message names, and clear this task."
