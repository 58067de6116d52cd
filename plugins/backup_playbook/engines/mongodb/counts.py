"""Counts of documents in a live database, without load."""

from __future__ import annotations

from backup_playbook.engines.mongodb.collections import list_collections
from backup_playbook.engines.mongodb.connection import MongoServer


def count_documents(server: MongoServer) -> dict[str, int]:
    """Return the server's own counts by `database.collection`: nothing is read. Raises SourceError."""
    with server.connect() as database:
        return {
            f"{database.name}.{item.name}": int(database.command("collStats", item.data_name).get("count", 0))
            for item in list_collections(database)
            if not item.is_view
        }
