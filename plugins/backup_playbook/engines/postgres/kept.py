"""Proven copies that stay: each gets a name of its own, and is no scratch any more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.guards import DatabaseIdentity, require_not_production
from backup_playbook.core.promotion import is_quarantine_name
from backup_playbook.engines.postgres.connection import PostgresServer, identity
from backup_playbook.engines.postgres.handover import comment_of, rename_database, set_comment
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.refusals import explained
from backup_playbook.engines.scratch import SCRATCH_NAME, Scratch

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_RESERVED = ("postgres", "template0", "template1")
_END_SESSIONS = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = %s"


def require_fitting_name(name: str) -> None:
    """Raise RestoreError for a name that needs quotes, or that has a meaning here."""
    if not _NAME.fullmatch(name):
        raise RestoreError(
            f"{name!r} cannot be the name of the new database.",
            "Nothing was done. Give it a name of at most 63 small letters, digits and underscores, such as shop_copy.",
        )
    if name in _RESERVED or SCRATCH_NAME.fullmatch(name) or is_quarantine_name(name):
        raise RestoreError(
            f"The name {name} is reserved: Postgres needs it, or it tells a scratch or a quarantine.",
            "Nothing was done. Choose another one, such as shop_copy.",
        )


def require_new(server: PostgresServer, name: str) -> None:
    """Raise RestoreError when the server has such a database."""
    with server.connect(autocommit=True) as connection:
        _require_new(connection, name, server.label)


def drop_statement(name: str) -> str:
    """Return the statement that drops a kept copy with all its connections."""
    return f"DROP DATABASE {quoted(name)} WITH (FORCE);"


def is_kept(server: PostgresServer, scratch: str, name: str) -> bool:
    """Say whether this scratch was kept under this name."""
    with server.connect(autocommit=True) as connection:
        return _is_kept(connection, scratch, name)


def keep(
    server: PostgresServer,
    scratches: Sequence[Scratch],
    scratch: str,
    name: str,
    production: Callable[[], Sequence[DatabaseIdentity]],
) -> None:
    """Give a scratch this name, and a comment on its origin. Can be repeated.

    scratches: those that the server has. Raises GuardError when it is production or not a scratch, RestoreError when
    the name is taken by another database.
    """
    with server.connect(autocommit=True) as connection:
        if _is_kept(connection, scratch, name):
            return  # an earlier try
        _require_new(connection, name, server.label)
        found = identity(connection, scratch)
        known = next((one for one in scratches if one.name == scratch), None)
        if found is None or known is None:
            raise GuardError(
                f"{server.label} has no scratch {scratch}.",
                "Nothing was touched. Start a new run: it restores the copy anew.",
            )
        require_not_production(found, production())
        mark = {"source": known.source, "backup_id": known.backup_id, "owner": known.owner, "scratch": scratch}
        comment = json.dumps({"backup_playbook": "restored", **mark})
        with explained(f"{scratch} could not be kept as {name}"), connection.transaction():
            connection.execute(_END_SESSIONS, [scratch])
            rename_database(connection, scratch, name)
            set_comment(connection, name, comment)


def _is_kept(connection: Connection[TupleRow], scratch: str, name: str) -> bool:
    """Look into the comment; no scratch has the name of another one."""
    return f'"scratch": "{scratch}"' in (comment_of(connection, name) or "")


def _require_new(connection: Connection[TupleRow], name: str, label: str) -> None:
    if identity(connection, name):
        raise RestoreError(
            f"There is a database {name} already on the server of {label}; a restore overwrites nothing.",
            f"Choose another name; or, if nobody needs it: DROP DATABASE {quoted(name)};",
        )
