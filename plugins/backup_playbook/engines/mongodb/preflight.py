"""Checks, before a recovery, that a copy can be promoted: rights, kinds of collections, names, room."""

from __future__ import annotations

from collections.abc import Iterator

from pymongo.database import Database
from pymongo.errors import OperationFailure

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.mongodb.collections import TTL, in_set, list_collections
from backup_playbook.engines.mongodb.connection import HAS_NONE, Document, MongoServer, deployment
from backup_playbook.engines.mongodb.details import MongoDetails
from backup_playbook.engines.mongodb.kept import require_room

LONGEST_NAMESPACE = 255
"""Bytes in the names of database and collection, since MongoDB 4.4."""
NAMED = 5
# readWrite has all but the last two, which dbAdmin has
_ACTIONS = frozenset((
    "find", "insert", "update", "remove", "createCollection", "createIndex", "dropIndex", "dropCollection",
    "renameCollectionSameDB", "listCollections", "listIndexes", "collMod", "bypassDocumentValidation",
))  # fmt: skip


def inspect_live(server: MongoServer, manifest: Manifest, quarantine: str) -> int | None:
    """Check everything that a promotion needs; return the free bytes of the server, if known.

    server: the live database, as the user of `recovery.connection`. quarantine: the name of the set.
    Raises RestoreError that names all obstacles.
    """
    with server.connect() as database:
        problems = [
            *_missing_rights(database),
            *_sharded(database),
            *_fixed(database, manifest),
            *_too_long(database, quarantine),
        ]
        if problems:
            raise RestoreError(
                f"The collections of {server.label} cannot be promoted as they are: "
                f"{' '.join(problem for problem, _ in problems)}",
                f"Nothing was touched. {' '.join(dict.fromkeys(remedy for _, remedy in problems))}",
            )
    return require_room(server, manifest.content_bytes)


def _missing_rights(database: Database[Document]) -> Iterator[tuple[str, str]]:
    """Find missing rights, and the command that grants them."""
    try:
        status = database.command("connectionStatus", showPrivileges=True)["authInfo"]
    except OperationFailure as error:
        if error.code != HAS_NONE:
            raise
        return  # what speaks MongoDB's protocol, and knows no users
    granted: set[str] = set()
    for privilege in status["authenticatedUserPrivileges"]:
        place = privilege["resource"]
        if place.get("anyResource") or (place.get("db") in ("", database.name) and place.get("collection") == ""):
            granted.update(privilege["actions"])
    if status["authenticatedUsers"] and (missing := sorted(_ACTIONS - granted)):
        user = status["authenticatedUsers"][0]
        roles = ", ".join(f'{{role: "{role}", db: "{database.name}"}}' for role in ("readWrite", "dbAdmin"))
        yield (
            f"{user['user']} lacks {', '.join(missing)} on {database.name}.",
            f'db.getSiblingDB("{user["db"]}").grantRolesToUser("{user["user"]}", [{roles}])',
        )


def _sharded(database: Database[Document]) -> Iterator[tuple[str, str]]:
    if deployment(database).kind == "sharded cluster":
        yield "They are in a sharded cluster, and a copy is not sharded.", _ELSEWHERE


def _fixed(database: Database[Document], manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Find collections that MongoDB does not rename, or would empty once they are set aside."""
    live = list_collections(database, MongoDetails.of(manifest).left_out)
    fixed = {item.name for item in live if item.kind == "timeseries" or item.name.startswith("system.")}
    fixed |= {item.name for item in live if not item.is_view and TTL in item.options}
    fixed |= {table.name for table in manifest.tables if table.kind == "timeseries" or table.name.startswith("system.")}
    if fixed:
        names = ", ".join(sorted(fixed)[:NAMED])
        yield (
            f"Time series, system collections and clustered ones that expire cannot be set aside: {names}.",
            _ELSEWHERE,
        )


def _too_long(database: Database[Document], quarantine: str) -> Iterator[tuple[str, str]]:
    longest = LONGEST_NAMESPACE - len(in_set(f"{database.name}.{quarantine}", "").encode())
    names = [item.name for item in list_collections(database) if len(item.name.encode()) > longest]
    if names:
        yield f"Names have no room for the quarantine's in front of them: {', '.join(names[:NAMED])}.", _ELSEWHERE


_ELSEWHERE = "Restore into a new database, and let the application use that one."
