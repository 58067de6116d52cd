"""Counts of documents in a live database, without load."""

from __future__ import annotations

from collections.abc import Iterable

from pymongo.database import Database

from backup_playbook.engines.mongodb.collections import Collection, list_collections
from backup_playbook.engines.mongodb.connection import Document, MongoServer
from backup_playbook.engines.mongodb.sets import read_sets


def count_documents(server: MongoServer) -> dict[str, int]:
    """Return the server's own counts by `database.collection`: nothing is read. Raises SourceError."""
    with server.connect() as database:
        found = _counts(database, list_collections(database))
        return {f"{database.name}.{name}": count for name, count in found.items()}


def count_exchanged(server: MongoServer, quarantine: str) -> tuple[dict[str, int], dict[str, int]]:
    """Count the documents of a quarantine, and those of what replaced it, by `database.collection`.

    Collections that the exchange left where they were are in neither. Raises SourceError.
    """
    with server.connect() as database:
        mark = read_sets(database).get(quarantine)
        aside = _counts(database, list_collections(database, within=quarantine))
        live = _counts(database, list_collections(database, mark.left_out if mark else ()))
        return (
            {f"{database.name}.{name.partition('.')[2]}": count for name, count in aside.items()},
            {f"{database.name}.{name}": count for name, count in live.items()},
        )


def _counts(database: Database[Document], collections: Iterable[Collection]) -> dict[str, int]:
    return {
        item.name: int(database.command("collStats", item.data_name).get("count", 0))
        for item in collections
        if not item.is_view
    }
