"""How many documents the collections of a live database have now, gently."""

from __future__ import annotations

from backup_playbook.engines.mongodb.collections import list_collections
from backup_playbook.engines.mongodb.connection import MongoServer


def count_documents(server: MongoServer) -> dict[str, int]:
    """By `database.collection`, as the server keeps count: nothing is read. Raises SourceError."""
    with server.connect() as database:
        return {
            f"{database.name}.{item.name}": int(database.command("collStats", item.data_name).get("count", 0))
            for item in list_collections(database)
            if not item.is_view
        }
