"""Removal of databases, and of their subscriptions, which act as soon as a database takes connections."""

from __future__ import annotations

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.engines.postgres.inventory import quoted

_SUBSCRIPTIONS = """
SELECT subname::text, subenabled FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE d.datname = %s ORDER BY 1
"""

DROP_TIMEOUT_SECONDS = 600
NO_ANSWER = (
    "Look for a process of the server that does not answer (SELECT pid, backend_type, wait_event FROM "
    "pg_stat_activity), such as a background worker of an extension; end it, or restart the server, and clear this "
    "task. What is left of the database cannot be used any more."
)


def drop_database(connection: Connection[TupleRow], name: str, how: str = "") -> None:
    """Drop a database within a limit: processes of some extensions never answer. how: such as `WITH (FORCE)`."""
    connection.execute(f"SET statement_timeout = '{DROP_TIMEOUT_SECONDS}s'".encode())
    connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} {how}".encode(connection.info.encoding))


def subscriptions_of(connection: Connection[TupleRow], database: str) -> dict[str, bool]:
    """Read the subscriptions of a database, and whether each is enabled; connection: to any database of the server."""
    return dict(connection.execute(_SUBSCRIPTIONS, [database]).fetchall())


def drop_subscriptions(inside: Connection[TupleRow], names: list[str]) -> None:
    """Drop subscriptions, lest they hold the database. Their slots on the publisher are not ours, and stay."""
    for name in map(quoted, names):
        inside.execute(f"ALTER SUBSCRIPTION {name} DISABLE".encode(inside.info.encoding))
        inside.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)".encode(inside.info.encoding))
        inside.execute(f"DROP SUBSCRIPTION {name}".encode(inside.info.encoding))
