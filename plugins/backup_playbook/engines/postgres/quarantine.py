"""Replaced databases: marked, found again, and dropped when nobody needs them any more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection, errors
from psycopg.rows import TupleRow

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.guards import DatabaseIdentity, require_not_production
from backup_playbook.core.promotion import is_quarantine_name
from backup_playbook.engines.postgres.connection import PostgresServer, identity
from backup_playbook.engines.postgres.investigation import opened
from backup_playbook.engines.postgres.subscriptions import (
    NO_ANSWER,
    drop_database,
    drop_subscriptions,
    subscriptions_of,
)
from backup_playbook.engines.quarantine import Quarantine, wanted_quarantine

_MARK = {"backup_playbook": "quarantine"}
_DATABASES = """
SELECT datname::text, pg_catalog.shobj_description(oid, 'pg_database'), pg_catalog.pg_database_size(oid)
FROM pg_catalog.pg_database WHERE datname ~ '__quarantine_' ORDER BY datname DESC
"""


def mark_of(one: Quarantine) -> str:
    """Comment on a quarantine: it tells a quarantine from other databases."""
    body = asdict(one) | {"quarantined_at": one.quarantined_at.isoformat()}
    return json.dumps(_MARK | {key: value for key, value in body.items() if key not in ("name", "bytes")})


def list_quarantines(connection: Connection[TupleRow], source: str) -> list[Quarantine]:
    """List the quarantines of a source, newest first."""
    rows = connection.execute(_DATABASES).fetchall()
    found = (_recognise(name, comment, size) for name, comment, size in rows)
    return sorted((one for one in found if one and one.source == source), key=lambda one: one.quarantined_at)[::-1]


def find_quarantine(connection: Connection[TupleRow], source: str, wanted: str, label: str) -> Quarantine:
    """Find a quarantine by its name, or the `newest`. Raises GuardError when the source has no such one."""
    return wanted_quarantine(list_quarantines(connection, source), source, wanted, label)


def drop_quarantine(
    server: PostgresServer, source: str, name: str, production: Callable[[], Sequence[DatabaseIdentity]]
) -> None:
    """Drop a quarantine, if it is still there. server: leads to another database of the server.

    Raises GuardError, and drops nothing, when it is production or no quarantine of this source. Raises RestoreError
    when the server refuses.
    """
    with server.connect(autocommit=True) as connection:
        found = identity(connection, name)
        if found is None:
            return
        require_not_production(found, production())
        find_quarantine(connection, source, name, server.label)
        try:
            if subscriptions := subscriptions_of(connection, name):
                with opened(server, name) as quarantine, quarantine.connect(autocommit=True) as inside:
                    drop_subscriptions(inside, [*subscriptions])
            drop_database(connection, name)
        except psycopg.Error as error:
            remedy = (
                "It is there as before. Correct what the server says (sessions, prepared transactions and replication "
                "slots hold a database), and clear this task."
            )
            raise RestoreError(
                f"{name} could not be dropped: {' '.join(str(error).split())}",
                NO_ANSWER if isinstance(error, errors.QueryCanceled) else remedy,
            ) from error


def _recognise(name: str, comment: str | None, size: int) -> Quarantine | None:
    try:
        body: dict[str, Any] = json.loads(comment or "")
        if not is_quarantine_name(name) or body.pop("backup_playbook") != _MARK["backup_playbook"]:
            return None
        at = datetime.fromisoformat(body.pop("quarantined_at"))
        return Quarantine(name=name, quarantined_at=at, bytes=size, **body)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # somebody else's comment
