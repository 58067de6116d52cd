"""Inquiry into a replaced database: its rows beside those of its successor, and the findings of amcheck.

It is opened for our own session only as long as that takes, and never written to.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from backup_playbook.core.errors import PlaybookError
from backup_playbook.engines.postgres import inventory
from backup_playbook.engines.postgres.clients import find_clients
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.handover import allow_connections
from backup_playbook.engines.postgres.subscriptions import subscriptions_of
from backup_playbook.streams import processes
from backup_playbook.streams.processes import Cancellation

SECONDS_PER_TABLE = 60
_AMCHECK_CHARACTERS = 4000
_ERRORS_SHOWN = 20


@dataclass
class TableCounts:
    """Numbers of rows by `schema.table`. unreadable: why a table could not be read to its end, by table."""

    rows: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def read_every_table(server: PostgresServer, *, whole: bool) -> TableCounts:
    """Count the rows of every table; or, unless `whole`, only see whether its first row can be read.

    A table that cannot be read does not hide the others. Raises SourceError when there is no connection.
    """
    counts = TableCounts()
    with server.connect(autocommit=True) as connection:
        connection.execute(f"SET default_transaction_read_only = on; SET statement_timeout = '{SECONDS_PER_TABLE}s'")
        for table in inventory.read_live_tables(connection, server.label):
            name = inventory.quoted(table.namespace, table.name)
            rows = f"ONLY {name}" if whole else f"(SELECT FROM ONLY {name} LIMIT 1) AS first"
            try:
                row = connection.execute(f"SELECT count(*) FROM {rows}".encode(connection.info.encoding)).fetchone()
            except psycopg.errors.UndefinedTable:
                continue  # dropped meanwhile
            except psycopg.Error as error:
                counts.unreadable[table.label] = " ".join(str(error).split())
            else:
                counts.rows[table.label] = row[0] if row else 0
    return counts


@contextmanager
def opened(server: PostgresServer, quarantine: str) -> Iterator[PostgresServer]:
    """Open a quarantine, which accepts connections within the block only; `server` leads to another database."""
    with server.connect(autocommit=True) as connection:
        connection.execute("SET idle_session_timeout = 0")  # else it may end here, and leave the quarantine open
        allow_connections(connection, quarantine, allow=True)
        try:
            yield server.at(quarantine)
        finally:
            allow_connections(connection, quarantine, allow=False)


def what_would_run(server: PostgresServer, quarantine: str) -> list[str]:
    """Enabled subscriptions, which would go on in an open quarantine, and use up changes of their publishers."""
    with server.connect(autocommit=True) as connection:
        return [name for name, enabled in subscriptions_of(connection, quarantine).items() if enabled]


def amcheck(server: PostgresServer, cancellation: Cancellation) -> str:
    """Run pg_amcheck, and return its words, or why it could not run.

    The extension is not installed for it: that would change what is to be looked at.
    """
    found = b""
    try:
        with server.connect(autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'amcheck'").fetchone():
                return "not asked: the database has no extension amcheck (CREATE EXTENSION amcheck)"
            program = find_clients(connection.info.server_version // 10_000).directory / "pg_amcheck"
        if not shutil.which(program):
            return f"not asked: this worker has no {program}"
        argv = [str(program), "--no-password", server.client_database]
        for block in processes.output(argv, env=server.environment(), cancellation=cancellation):
            found = (found + block)[:_AMCHECK_CHARACTERS]
    except PlaybookError as error:
        return found.decode(errors="replace").strip() or error.what[-_AMCHECK_CHARACTERS:]
    return "no damage found"


def log_excerpt(server: PostgresServer) -> Mapping[str, str]:
    """Read the newest errors of the server's log: `lines`, or `why` there are none."""
    query = """
        SELECT string_agg(line, E'\\n') FROM (
          SELECT line FROM pg_catalog.regexp_split_to_table(
            pg_catalog.pg_read_file(pg_catalog.pg_current_logfile(),
              greatest(0, (pg_catalog.pg_stat_file(pg_catalog.pg_current_logfile())).size - 200000), 200000), E'\\n')
            WITH ORDINALITY AS l (line, number)
          WHERE line ~ '(ERROR|FATAL|PANIC|WARNING):' ORDER BY number DESC LIMIT %s) AS newest"""
    try:
        with server.connect(autocommit=True) as connection:
            row = connection.execute(query, [_ERRORS_SHOWN]).fetchone()
    except psycopg.Error as error:
        return {"why": " ".join(str(error).split())}
    return {"lines": row[0]} if row and row[0] else {"why": "it is not collected (logging_collector), or has no errors"}
