"""Quarantines in a live database: found, and dropped when nobody needs them any more."""

from __future__ import annotations

from dataclasses import replace

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.engines.mongodb.collections import list_collections
from backup_playbook.engines.mongodb.connection import MongoServer, explained
from backup_playbook.engines.mongodb.sets import drop_set, read_sets
from backup_playbook.engines.quarantine import Quarantine, wanted_quarantine


def find_quarantine(server: MongoServer, source: str, wanted: str) -> Quarantine:
    """Find a quarantine. wanted: a name, or `newest`. Raises GuardError when there is none, or half of it is live."""
    with server.connect() as database:
        found = [one for one in read_sets(database).values() if one.kind == "quarantine" and one.source == source]
        newest_first = [
            Quarantine(name=one.name, source=source, live=server.database, quarantined_at=one.created_at, by=one.owner)
            for one in reversed(found)
        ]
        chosen = wanted_quarantine(newest_first, source, wanted, server.label)
        half = next((one.exchanged_with for one in found if one.name == chosen.name), "")
        if half:
            raise GuardError(
                f"{chosen.name} is half of a promotion of {half} that has not ended.",
                f"Nothing was touched. Look at the run {chosen.by} first: its task `promote_copy` completes it.",
            )
        kept = list_collections(database, within=chosen.name)
        return replace(chosen, bytes=sum(int(database.command("collStats", item.name)["size"]) for item in kept))


def mark_live(server: MongoServer) -> str:
    """Mark what is live, for `MongoPromotion`: by the names of all quarantines, since each exchange adds one.

    An exchange that is half done counts once it is complete: until then, nobody knows what will be live.
    """
    with server.connect() as database:
        sets = read_sets(database).values()
    return " ".join(one.name for one in sets if one.kind == "quarantine" and not one.exchanged_with)


def drop_quarantine(server: MongoServer, source: str, name: str) -> None:
    """Drop a quarantine, and what clients wrote during its promotion. Does nothing when it is gone.

    Raises GuardError, and drops nothing, when it is no quarantine of this source.
    """
    with server.connect() as database:
        sets = read_sets(database)
        if name not in sets:
            return
        find_quarantine(server, source, name)
        with explained(f"{name} of {server.label} could not be dropped", RestoreError):
            for one in sets.values():
                if one.name == name or one.quarantine == name:
                    drop_set(database, one.name)
