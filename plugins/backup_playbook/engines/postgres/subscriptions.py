"""Subscriptions of a database that is to be dropped, or only looked into: they act as soon as it takes connections."""

from __future__ import annotations

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.engines.postgres.inventory import quoted

_SUBSCRIPTIONS = """
SELECT subname::text, subenabled FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE d.datname = %s ORDER BY 1
"""


def subscriptions_of(connection: Connection[TupleRow], database: str) -> dict[str, bool]:
    """Whether each of them is enabled; connection: to any database of the server."""
    return dict(connection.execute(_SUBSCRIPTIONS, [database]).fetchall())


def drop_subscriptions(inside: Connection[TupleRow], names: list[str]) -> None:
    """A database with subscriptions cannot be dropped. Their slots on the publisher are not ours, and stay."""
    for name in map(quoted, names):
        inside.execute(f"ALTER SUBSCRIPTION {name} DISABLE".encode(inside.info.encoding))
        inside.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)".encode(inside.info.encoding))
        inside.execute(f"DROP SUBSCRIPTION {name}".encode(inside.info.encoding))
