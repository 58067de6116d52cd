"""Search for documents in a backup: objects that may hold them are loaded into a scratch, and the server is asked."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bson import Int64, ObjectId
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection as DriverCollection
from pymongo.database import Database

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.model import Manifest, StoredObject, TableRecord
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.engines.mongodb.archive import metadata_names, read_collection
from backup_playbook.engines.mongodb.collections import from_json, list_collections
from backup_playbook.engines.mongodb.connection import Document, MongoServer, explained
from backup_playbook.engines.mongodb.documents import batches
from backup_playbook.engines.mongodb.exact import empty_again
from backup_playbook.engines.mongodb.ranges import RAW, between
from backup_playbook.engines.mongodb.scratch import MongoScratch
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)

LOADED, WANTED = "loaded", "wanted"
"""Collections of the scratch: documents of the backup, and the `_id`s that are looked for."""
MOST_BYTES = 256 << 20
"""Limit of found documents: the preview, the import and its undo hold them in memory."""
_EXACT = (str, ObjectId, int, Int64)
_NO_JSON = (ValueError, TypeError, KeyError, AttributeError, BSONError)
_OBJECT_ID = re.compile("[0-9a-fA-F]{24}")


@dataclass(frozen=True)
class WantedDocuments:
    """Documents of one collection, by their ids or by a query. ids: empty for a query."""

    collection: str
    ids: tuple[Any, ...]
    query: Document


def wanted_documents(collection: str, ids: Sequence[str], query: str) -> WantedDocuments:
    """Read a form. ids, query: extended JSON; an id may also be a bare ObjectId or text.

    Raises RowRecoveryError.
    """
    query = query.strip()
    if bool(ids) == bool(query):
        raise RowRecoveryError(
            f"Which documents of {collection}? The form names {'ids and a query' if query else 'none'}.",
            "Give either `ids` or `query`; the query {} means all of them.",
        )
    if ids:
        values = tuple(_parse_id(text) for text in ids)
        return WantedDocuments(collection, values, {"_id": {"$in": list(values)}})
    try:
        parsed = from_json(query)
    except _NO_JSON:
        parsed = None
    if not isinstance(parsed, dict):
        raise RowRecoveryError(
            f"{query!r} is no query.",
            'Write it as extended JSON: {"user": 7, "at": {"$gte": {"$date": "2026-11-23T00:00:00Z"}}}.',
        )
    return WantedDocuments(collection, (), parsed)


def _parse_id(text: str) -> Any:
    """Read an id: `7` is a number, `"7"` text, 24 hexadecimal digits an ObjectId; anything but JSON is text."""
    if _OBJECT_ID.fullmatch(text):
        return ObjectId(text)
    try:
        return from_json(text)
    except _NO_JSON:
        return text


def require_collection(live: MongoServer, name: str) -> None:
    """Raise RowRecoveryError unless production has a collection of documents of this name that is not capped."""
    with live.connect() as database:
        kinds = {item.name: "capped collection" if item.is_capped else item.kind for item in list_collections(database)}
    if kinds.get(name) != "collection":
        raise RowRecoveryError(
            f"{name} is {'a ' + kinds[name] if name in kinds else 'no collection'} of {live.label}.",
            f"Choose one of: {', '.join(other for other, kind in kinds.items() if kind == 'collection')}. Of a time "
            "series, a capped collection (new documents push out old ones) or a collection that is gone, restore the "
            "backup elsewhere, and copy it from there.",
        )


def load_documents(
    scratch: MongoScratch, reader: BackupReader, wanted: WantedDocuments, cancellation: Cancellation
) -> dict[str, float]:
    """Fill an empty scratch with all documents that may be wanted. Returns seconds by phase.

    Raises RowRecoveryError when the backup has no such collection; else see `engines.contract.Target.restore`.
    """
    started = time.monotonic()
    scratch.require_mark()
    with (
        scratch.server.connect() as database,
        explained(f"{wanted.collection} could not be loaded into {scratch.label}", RestoreError),
    ):
        loading = _Loading(database, reader, wanted, cancellation)
        run_jobs(loading.jobs(), scratch.streams, cancellation)
    return {"load": time.monotonic() - started}


class _Loading:
    def __init__(
        self, database: Database[Document], reader: BackupReader, wanted: WantedDocuments, cancellation: Cancellation
    ) -> None:
        self._database, self._reader = database, reader
        self._wanted, self._cancellation = wanted, cancellation
        self._table = _table(reader.manifest, wanted.collection)
        # by it, texts that differ may be equal
        self._collation = self._read_collation()

    def jobs(self) -> list[Job[None]]:
        for name in (LOADED, WANTED):
            self._database.command({"create": name, **self._collation})
        for value in self._wanted.ids:
            self._database[WANTED].replace_one({"_id": {"$eq": value}}, {"_id": value}, upsert=True)
        bounds = [part.key_min for part in self._table.parts[1:] if part.key_min]
        ranges = between(bounds) if self._table.parts else []
        parts = [
            part
            for part, ids in zip(self._table.parts, ranges, strict=True)
            if not self._wanted.ids or self._database[WANTED].find_one(ids.query)
        ]
        log.info("%s: reading %d of %d objects.", self._table.name, len(parts), len(self._table.parts))
        objects = {item.name: item for item in self._reader.manifest.objects}
        return [Job(part.bytes, partial(self._load, objects[part.object])) for part in parts]

    def _load(self, item: StoredObject) -> None:
        for batch in batches(self._reader.content(item)):
            self._cancellation.check()
            documents = [RawBSONDocument(content, RAW) for content in batch]
            if meant := [found for found in documents if self._may_be_meant(found)]:
                self._database[LOADED].insert_many(meant)
                empty_again(self._database[LOADED], (found.raw for found in meant))

    def _may_be_meant(self, document: RawBSONDocument) -> bool:
        """Rule out only what surely has another `_id`; 5 and 5.0 are the same to the server."""
        if self._collation or not self._wanted.ids or not all(type(one) in _EXACT for one in self._wanted.ids):
            return True
        value = document["_id"]
        return type(value) not in _EXACT or value in self._wanted.ids

    def _read_collation(self) -> Document:
        manifest = self._reader.manifest
        [name] = [key for key, collection in metadata_names(manifest).items() if collection == self._table.name]
        item = next(item for item in manifest.objects if item.name == name)
        options = read_collection(manifest, item, self._reader.content(item)).options
        return {key: value for key, value in options.items() if key == "collation"}


def _table(manifest: Manifest, name: str) -> TableRecord:
    for table in manifest.tables:
        if table.name == name and table.kind != "timeseries":
            return table
    raise RowRecoveryError(
        f"The backup {manifest.backup_id} has no collection of documents {name}.",
        "Choose a backup of a time when it was there: `list_recovery_points` shows them all.",
    )


def found_documents(scratch: MongoScratch, wanted: WantedDocuments) -> list[RawBSONDocument]:
    """Return the wanted documents by `_id`. Raises RowRecoveryError when there are none, or too many."""
    found: list[RawBSONDocument] = []
    size = 0
    with (
        scratch.server.connect() as database,
        explained(f"The query for {wanted.collection} was not understood", RowRecoveryError),
    ):
        for document in raw(database[LOADED]).find(wanted.query, sort=[("_id", 1)]):
            found.append(document)
            size += len(document.raw)
            if size > MOST_BYTES:
                raise RowRecoveryError(
                    f"More than {MOST_BYTES >> 20} MiB of documents of {wanted.collection} are meant.",
                    "Recover them in parts; or restore the backup elsewhere, and copy the collection from there.",
                )
    if not found:
        raise RowRecoveryError(
            f"The backup has no such documents of {wanted.collection}.",
            'Choose an older backup, or correct what is looked for: `"7"` is text, and `7` a number.',
        )
    return found


def raw(collection: DriverCollection[Document]) -> DriverCollection[RawBSONDocument]:
    """Return the collection with its documents byte for byte."""
    return collection.with_options(codec_options=RAW)
