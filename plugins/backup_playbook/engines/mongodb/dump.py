"""Dump of a MongoDB database as streams of raw BSON: no scratch disk, no document decoded."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import pymongo
from pymongo.database import Database
from pymongo.errors import OperationFailure

from backup_playbook.core.model import Manifest, ObjectKind, StoredObject, TablePart, TableRecord
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.mongodb.collections import Collection, bson_file, list_indexes, metadata_file, object_name
from backup_playbook.engines.mongodb.connection import (
    HAS_NONE,
    MAY_NOT,
    Deployment,
    Document,
    MongoServer,
    deployment,
    explained,
)
from backup_playbook.engines.mongodb.details import PER_COLLECTION, SNAPSHOT, MongoDetails
from backup_playbook.engines.mongodb.documents import BATCH_BYTES, DocumentCounter
from backup_playbook.engines.mongodb.ranges import IdRange, split
from backup_playbook.engines.mongodb.raw_batches import RawBatches
from backup_playbook.engines.mongodb.snapshot_time import SnapshotTime, choose_snapshot_time, require_unchanged
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.streams.blocks import BLOCK_BYTES, tap
from backup_playbook.streams.memory import MemoryLimit
from backup_playbook.streams.parallel import Job, run_by_size
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)

CHUNK_BYTES = 128 << 20
USERS = {"users": {"db": "{}"}, "roles": {"db": "{}"}, "version": {"_id": "authSchema"}}
"""Collections of `admin` with the users and roles of a database, and how to find them."""
FETCHES = MemoryLimit(16 << 20)
"""The driver takes a batch apart in several copies: those of the largest documents come one after the other."""


@dataclass(frozen=True)
class Written:
    """One stored object, and which documents of which collection it holds."""

    item: StoredObject
    collection: str = ""
    part: TablePart | None = None


@dataclass(frozen=True)
class MongoSource:
    """A database that can be backed up.

    streams: how many run at once. chunk_bytes: larger collections are read in ranges of about this size, at once.
    leave_out: names of collections.
    """

    server: MongoServer
    streams: int = 2
    chunk_bytes: int = CHUNK_BYTES
    leave_out: tuple[str, ...] = ()

    def dump(self, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
        """See `engines.contract.Source`."""
        cancellation.check()
        with self.server.connect() as database:
            server = deployment(database)
            snapshot_time = choose_snapshot_time(database, server, self.server.label, self.leave_out)
            manifest = _Dump(self, database, server, snapshot_time, writer, cancellation).run()
            require_unchanged(database, snapshot_time, self.server.label, self.leave_out)
            return manifest


class _Dump:
    def __init__(
        self,
        source: MongoSource,
        database: Database[Document],
        server: Deployment,
        snapshot_time: SnapshotTime,
        writer: BackupWriter,
        cancellation: Cancellation,
    ) -> None:
        self._source, self._database, self._server, self._snapshot_time = source, database, server, snapshot_time
        self._writer, self._cancellation = writer, cancellation

    def run(self) -> Manifest:
        label, server = self._source.server.label, self._server
        self._search = self._search_indexes()
        looks = [Job(0, partial(self._look_at, item)) for item in self._snapshot_time.collections]
        found = run_by_size(looks, self._source.streams, self._cancellation)
        tables = [one for one in found if not one[0].is_view]
        total = sum(size for _, size, _ in tables)
        log.info(
            "%s: MongoDB %s, %s, %d collections, %s, %d streams at once.",
            label, server.version, server.kind, len(tables), human_bytes(total), self._source.streams,
        )  # fmt: skip
        if not self._snapshot_time.cluster_time:
            log.warning(
                "There is no snapshot of %s (%s, %s): each collection is copied at its own moment.",
                label, server.kind, server.version,
            )  # fmt: skip
        elif own := self._snapshot_time.unsnapshotted:
            log.warning(
                "MongoDB %s has no snapshots of capped collections: %s of %s, each is copied at its own moment.",
                server.version, ", ".join(own), label,
            )  # fmt: skip
        with Progress(self._database.name, total) as self._progress:
            jobs: list[Job[Written | None]] = [Job(0, partial(self._metadata, item)) for item, _, _ in found]
            for table in tables:
                jobs += self._jobs(*table)
            written = [one for one in run_by_size(jobs, self._source.streams, self._cancellation) if one]
        return self._manifest([*written, *self._users()])

    def _search_indexes(self) -> dict[str, list[str]] | None:
        """List search indexes by collection, which `listIndexes` leaves out. None: the user may not list them."""
        found: dict[str, list[str]] = {}
        for item in self._snapshot_time.collections:
            if item.kind == "collection" and not item.name.startswith("system."):
                try:
                    names = [one["name"] for one in self._database[item.name].list_search_indexes()]
                except OperationFailure as error:
                    return None if error.code == MAY_NOT else found  # it knows none
                if names:
                    found[item.name] = sorted(names)
        return found

    def _look_at(self, collection: Collection) -> tuple[Collection, int, int]:
        """Add its indexes, and the server's count of bytes in all documents and in an average one."""
        if collection.is_view:
            return collection, 0, 0
        stats = self._database.command("collStats", collection.data_name)
        indexes = list_indexes(self._database, collection)
        return replace(collection, indexes=indexes), int(stats["size"]), int(stats.get("avgObjSize", 0))

    def _jobs(self, collection: Collection, size: int, average: int) -> Iterator[Job[Written | None]]:
        chunks = size // self._source.chunk_bytes
        ranges = [IdRange()]
        if chunks > 1 and has_ranges(collection, self._server):
            ranges = split(self._database[collection.data_name], chunks)
        file = object_name(bson_file(self._database.name, collection.data_name))
        estimate = size // len(ranges)
        for number, part in enumerate(ranges, 1):
            name = f"{file}.{number:04d}" if len(ranges) > 1 else file
            yield Job(estimate, partial(self._documents, collection, name, part, estimate, average))

    def _documents(self, collection: Collection, name: str, part: IdRange, size: int, average: int) -> Written | None:
        counter = DocumentCounter()
        content = self._progress.track(self._read(collection, part, average), size)
        first = next(content, b"")
        if not first:
            return None  # most collections of a database with thousands of them are empty
        blocks = tap(chain([first], content), counter.update)
        item = self._writer.write(name, ObjectKind.COLLECTION, blocks, estimate=size)
        found = TablePart(
            object=item.name,
            rows=counter.finish(),
            bytes=item.content_bytes,
            sha256=item.content_sha256,
            key_min=part.low,
        )
        return Written(item, collection.name, found)

    def _read(self, collection: Collection, part: IdRange, average: int) -> Iterator[bytes]:
        with explained(f"{collection.name} of {self._source.server.label} could not be read"):
            yield from read_documents(
                self._database, self._snapshot_time, collection, part, average, self._cancellation
            )

    def _metadata(self, collection: Collection) -> Written:
        name = object_name(metadata_file(self._database.name, collection.name))
        return Written(self._writer.write(name, ObjectKind.METADATA, [collection.to_json()]))

    def _users(self) -> list[Written]:
        """Store all users and roles that mongorestore wants, or none."""
        admin, name = self._database.client.get_database("admin"), self._database.name
        contents = {}
        try:
            for kind, query in USERS.items():
                found = {key: value.format(name) for key, value in query.items()}
                contents[kind] = b"".join(admin[f"system.{kind}"].find_raw_batches(found))
        except OperationFailure as error:
            if error.code not in (MAY_NOT, HAS_NONE):
                raise
            log.info("Users and roles are not stored: the connection's user may not read them.")
            return []
        files = {f"{name}/$admin.system.{kind}.bson": content for kind, content in contents.items()}
        return [Written(self._writer.write(file, ObjectKind.USERS, [text])) for file, text in files.items()]

    def _manifest(self, written: list[Written]) -> Manifest:
        parts: dict[str, list[TablePart]] = defaultdict(list)
        for one in written:
            if one.part:
                parts[one.collection].append(one.part)
        return self._writer.manifest(
            "mongodb",
            snapshot_at=self._snapshot_time.taken_at,
            tools={"pymongo": pymongo.version},
            details=self._details().written(),
            objects=(one.item for one in written),
            tables=(
                _record(self._database.name, item, parts[item.name])
                for item in self._snapshot_time.collections
                if not item.is_view
            ),
        )

    def _details(self) -> MongoDetails:
        time = self._snapshot_time.cluster_time
        return MongoDetails(
            server_version=self._server.version,
            deployment=self._server.kind,
            consistency=SNAPSHOT if time else PER_COLLECTION,
            cluster_time=(time.time, time.inc) if time else None,
            unsnapshotted=tuple(self._snapshot_time.unsnapshotted),
            database=self._database.name,
            views=tuple(item.name for item in self._snapshot_time.collections if item.is_view),
            left_out=tuple(self._source.leave_out),
            search_indexes=self._search,
            collections={item.name: item.uuid for item in self._snapshot_time.collections if item.uuid},
        )


def has_ranges(collection: Collection, server: Deployment) -> bool:
    """Check whether ranges are found without reading all of it: older servers have no index for them."""
    clustered = collection.kind == "timeseries" or "clusteredIndex" in collection.options
    # a capped collection is in the order in which it was written
    return not collection.is_capped and server.release >= ((8, 0) if clustered else (5, 0))


def read_documents(
    database: Database[Document],
    snapshot_time: SnapshotTime,
    collection: Collection,
    part: IdRange,
    average: int,
    cancellation: Cancellation,
) -> Iterator[bytes]:
    """Read the documents of a range as they are stored, by `_id`; of a capped collection, as written.

    average: bytes of a document, which decide how many come at once.
    """
    order = [("$natural", 1)] if collection.is_capped else [("_id", 1)]
    count = max(1, BATCH_BYTES // max(average, 1))
    with RawBatches(snapshot_time.reading(database, collection), part.query, sort=order, batch_size=count) as cursor:
        expected = average
        while True:
            with FETCHES.hold(expected):
                batch = next(cursor, b"")
            if not batch:
                return
            expected = len(batch)
            for start in range(0, expected, BLOCK_BYTES):
                cancellation.check()
                yield batch[start : start + BLOCK_BYTES]
            del batch  # else it is still there when the next one comes


def _record(database: str, collection: Collection, parts: list[TablePart]) -> TableRecord:
    kind = "capped" if collection.is_capped else collection.kind
    return TableRecord.model_validate(
        {"namespace": database, "name": collection.name, "kind": kind, "key": ("_id",), "parts": tuple(parts)}
    )
