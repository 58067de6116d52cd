"""Restore into an empty database: options first, documents in parallel, indexes afterwards.

Indexes and options that remove documents by age are left out: the copy must not change before it is proven.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.guards import CollectionsIdentity, require_no_production_collections
from backup_playbook.core.model import Manifest, StoredObject, TableRecord
from backup_playbook.core.words import counted
from backup_playbook.engines.mongodb.archive import read_collections
from backup_playbook.engines.mongodb.collections import TTL, Collection, identity, list_collections, list_indexes
from backup_playbook.engines.mongodb.connection import Document, MongoServer, explained
from backup_playbook.engines.mongodb.definitions import create_collection, create_indexes
from backup_playbook.engines.mongodb.details import MongoDetails
from backup_playbook.engines.mongodb.documents import batches
from backup_playbook.engines.mongodb.exact import empty_again
from backup_playbook.engines.mongodb.legacy import up_to_date
from backup_playbook.engines.mongodb.ranges import RAW
from backup_playbook.engines.restore import timed
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.parallel import Job, run_by_size
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)


class Restore:
    """Restore of one backup into a database that is empty and none of `production`.

    within: restore into this set of collections, without views, which stay in `views`.
    """

    def __init__(
        self,
        server: MongoServer,
        production: Sequence[CollectionsIdentity],
        reader: BackupReader,
        streams: int,
        cancellation: Cancellation,
        within: str = "",
    ) -> None:
        self._server, self._streams, self._cancellation, self._within = server, streams, cancellation, within
        self._reader, self._manifest = reader, reader.manifest
        self._production = [*production, source_identity(reader.manifest)]
        self._database: Database[Document]

    def run(self) -> dict[str, float]:
        """Restore; return seconds by phase. See `engines.contract.Target.restore`."""
        self._cancellation.check()
        with self._server.connect() as self._database:
            require_no_production_collections(identity(self._database, self._within), self._production)
            require_empty(self._database, self._server.label, self._within)
            backed_up = [*map(up_to_date, read_collections(self._reader, self._streams, self._cancellation))]
            self.views = [item for item in backed_up if item.is_view]
            self._names = {item.name: item.within(self._within).data_name for item in backed_up}
            self._collections = [item.within(self._within) for item in backed_up if not (self._within and item.is_view)]
            return {name: timed(name, phase) for name, phase in (
                ("collections", self._create), ("data", self._load), ("indexes", self._index),
            )}  # fmt: skip

    def _create(self) -> None:
        jobs = [Job(0, partial(self._create_one, item)) for item in self._collections]
        run_by_size(jobs, self._streams, self._cancellation)

    def _create_one(self, collection: Collection) -> None:
        with explained(f"{collection.name} could not be made in {self._server.label}", RestoreError):
            create_collection(self._database, collection)
            if collection.kind == "timeseries":
                self._drop_own_indexes(collection)

    def _drop_own_indexes(self, collection: Collection) -> None:
        """Drop the index that MongoDB gives a new time series since 6.3: the live one may not have it."""
        wanted = {index["name"] for index in collection.indexes}
        for index in list_indexes(self._database, collection):
            if index["name"] not in wanted:
                self._database[collection.name].drop_index(index["name"])

    def _load(self) -> None:
        objects = {item.name: item for item in self._manifest.objects}
        with Progress(self._database.name, self._manifest.content_bytes) as self._progress:
            jobs = [
                Job(part.bytes, partial(self._load_part, objects[part.object], table, self._names[table.name]))
                for table in self._manifest.tables
                for part in table.parts
            ]
            run_by_size(jobs, self._streams, self._cancellation)

    def _load_part(self, item: StoredObject, table: TableRecord, name: str) -> None:
        # what an election takes back is missed by the proof
        collection = self._database.get_collection(name, write_concern=WriteConcern(w=1))
        content = self._progress.track(self._reader.content(item), item.content_bytes)
        with explained(f"{table.name} could not be loaded into {self._server.label}", RestoreError):
            for batch in batches(content):
                self._cancellation.check()
                # documents may be older than the validator that would refuse them
                documents = (RawBSONDocument(content, RAW) for content in batch)
                collection.insert_many(documents, bypass_document_validation=True)
                empty_again(collection, batch)

    def _index(self) -> None:
        sizes = {table.name: table.bytes for table in self._manifest.tables}
        jobs = [Job(sizes.get(item.name, 0), partial(self._index_one, item)) for item in self._collections]
        run_by_size(jobs, self._streams, self._cancellation)

    def _index_one(self, collection: Collection) -> None:
        with explained(f"{collection.name} could not be indexed in {self._server.label}", RestoreError):
            create_indexes(self._database, collection, (index for index in collection.indexes if TTL not in index))


def source_identity(manifest: Manifest) -> CollectionsIdentity:
    """Identify the backed-up database: no copy of it ever goes there, whatever the configuration says."""
    details = MongoDetails.of(manifest)
    return CollectionsIdentity(details.database, frozenset(details.collections.values()))


def require_empty(database: Database[Document], label: str, within: str = "") -> None:
    """Raise RestoreError when there are collections."""
    if found := list_collections(database, within=within):
        raise RestoreError(
            f"{label} is not empty: it has {counted(len(found), 'collection')}, views included. A restore writes "
            "into empty databases only.",
            "Drop this scratch, and start the restore again with a new one.",
        )
