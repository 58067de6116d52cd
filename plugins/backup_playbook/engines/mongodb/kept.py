"""A proven copy that stays. MongoDB renames no databases: it has its name from the start, and loses its mark."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from pymongo.errors import OperationFailure

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.guards import CollectionsIdentity, require_no_production_collections
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.mongodb.collections import SCRATCH_MARK, identity
from backup_playbook.engines.mongodb.connection import HAS_NONE, MAY_NOT, MongoServer, explained
from backup_playbook.engines.scratch import SCRATCH_NAME

SERVERS_OWN = ("admin", "config", "local")
"""Databases that every server has."""
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def drop_statement(name: str) -> str:
    """Return the statement that drops a kept copy."""
    return f"db.getSiblingDB({json.dumps(name)}).dropDatabase()"


def require_new(server: MongoServer, name: str) -> None:
    """Raise RestoreError when the server has such a database, or the name is reserved."""
    if name in SERVERS_OWN or SCRATCH_NAME.fullmatch(name) or not _NAME.fullmatch(name):
        raise RestoreError(
            f"{name!r} cannot be the name of the new database: MongoDB needs it, or it tells a scratch, or has other "
            "signs than small letters, digits and underscores.",
            "Nothing was done. Choose another one, such as shop_copy.",
        )
    with server.connect() as database:
        if name in database.client.list_database_names():
            raise RestoreError(
                f"There is a database {name} already on the server of {server.label}; a restore overwrites nothing.",
                f"Choose another name; or, if nobody needs it: {drop_statement(name)}",
            )


def require_room(server: MongoServer, needed: int) -> int | None:
    """Return the free bytes, if known. Raises RestoreError when a copy needs more."""
    with server.connect() as database:
        try:
            stats = database.command("dbStats")
        except OperationFailure as error:
            if error.code not in (MAY_NOT, HAS_NONE):
                raise
            return None
    if "fsTotalSize" not in stats:
        return None
    free = int(stats["fsTotalSize"] - stats["fsUsedSize"])
    if free < needed:
        raise RestoreError(
            f"The server of {server.label} has {human_bytes(free)} free, and a copy needs about {human_bytes(needed)}.",
            "Nothing was touched. Release a quarantine (release_quarantine), drop a copy that nobody needs, or add "
            "disk space.",
        )
    return free


def keep(server: MongoServer, production: Callable[[], Sequence[CollectionsIdentity]]) -> None:
    """Make a proven copy, which `server` leads to, an ordinary database; can be repeated.

    Raises GuardError when it is production, or gone.
    """
    with server.connect() as database:
        require_no_production_collections(identity(database), production())
        names = database.list_collection_names()
        if not names:
            raise GuardError(f"There is no copy {server.label}.", "Start a new run: it restores the copy anew.")
        if SCRATCH_MARK in names:
            with explained(f"{server.label} could not be kept", RestoreError):
                database.drop_collection(SCRATCH_MARK)


def is_kept(server: MongoServer) -> bool:
    """Say whether the database that `server` leads to is there, and no scratch."""
    with server.connect() as database:
        names = database.list_collection_names()
        return bool(names) and SCRATCH_MARK not in names
