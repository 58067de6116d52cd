"""Choice of the time that all collections are read at, where the server has snapshots."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.timestamp import Timestamp
from pymongo.collection import Collection as DriverCollection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from backup_playbook.core.errors import SourceError
from backup_playbook.engines.mongodb.collections import Collection, list_collections
from backup_playbook.engines.mongodb.connection import Deployment, Document
from backup_playbook.engines.mongodb.ranges import RAW

log = logging.getLogger(__name__)

ATTEMPTS = 5


class AtClusterTime(ReadConcern):
    """Read concern of a snapshot session, for all threads at once: a session serves one at a time."""

    def __init__(self, time: Timestamp) -> None:
        super().__init__("snapshot")
        self._time = time

    @property
    def document(self) -> dict[str, Any]:
        """Form that is sent to the server."""
        return {**super().document, "atClusterTime": self._time}


@dataclass(frozen=True)
class SnapshotTime:
    """The collections of a dump, without indexes, and the time that they are read at.

    taken_at: time that the data shows, or the earliest. cluster_time: None when each collection has a time of its own.
    unsnapshotted: collections that no snapshot shows.
    """

    collections: tuple[Collection, ...]
    taken_at: datetime
    cluster_time: Timestamp | None = None
    unsnapshotted: tuple[str, ...] = ()

    def reading(self, database: Database[Document], collection: Collection) -> DriverCollection[Document]:
        """Open a collection for reading at this time."""
        concern: ReadConcern | None = None
        if self.cluster_time:
            own = collection.name in self.unsnapshotted
            concern = ReadConcern("majority") if own else AtClusterTime(self.cluster_time)
        return database.get_collection(collection.data_name, read_concern=concern)


def choose_snapshot_time(
    database: Database[Document], server: Deployment, label: str, leave_out: Iterable[str] = ()
) -> SnapshotTime:
    """Choose the time of a dump. Raises SourceError for no collections, or when they keep coming and going."""
    for _ in range(ATTEMPTS):
        before = list_collections(database, leave_out)
        if not before:
            raise SourceError(
                f"{label} has no collections: MongoDB shows a database that does not exist as an empty one.",
                "Correct `database` of this source, or the schema of its Airflow connection.",
            )
        taken_at = datetime.now(UTC)
        shown = [item for item in before if not item.is_view and _shows_snapshots(item, server)]
        time = _cluster_time(database, shown[0]) if shown else None
        if list_collections(database, leave_out) == before:
            others = (item.name for item in before if time and not item.is_view and item not in shown)
            return SnapshotTime(tuple(before), time.as_datetime() if time else taken_at, time, tuple(others))
        log.info("Collections were made or dropped meanwhile: taking the snapshot again.")
    raise SourceError(
        f"The collections of {label} changed {ATTEMPTS} times while a snapshot was taken.",
        "Run the backup again when no migration is making and dropping collections, or name them in `leave_out`.",
    )


def require_unchanged(
    database: Database[Document], snapshot_time: SnapshotTime, label: str, leave_out: Iterable[str] = ()
) -> None:
    """Raise SourceError when a collection is gone or replaced: it may have been read in part."""
    now = {(item.name, item.uuid, item.kind) for item in list_collections(database, leave_out)}
    gone = sorted(item.name for item in snapshot_time.collections if (item.name, item.uuid, item.kind) not in now)
    if gone:
        raise SourceError(
            f"{', '.join(gone)} of {label} was dropped, renamed or made anew while the backup ran.",
            "Run the backup again when that has ended; name collections that come and go in `leave_out`.",
        )


def _shows_snapshots(collection: Collection, server: Deployment) -> bool:
    """Check for snapshot reads: before MongoDB 8.0, capped collections have none."""
    return server.has_snapshots and not (collection.is_capped and server.release < (8, 0))


def _cluster_time(database: Database[Document], collection: Collection) -> Timestamp:
    found = database.command(
        {"find": collection.data_name, "limit": 1, "projection": {"_id": 1}, "singleBatch": True,
         "readConcern": {"level": "snapshot"}},
        codec_options=RAW,
    )  # fmt: skip
    time: Timestamp = found["cursor"]["atClusterTime"]
    return time
