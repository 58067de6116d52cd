"""Collections and views of a database with their options and indexes, and the files of mongodump."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from bson import json_util
from bson.codec_options import DatetimeConversion
from bson.json_util import CANONICAL_JSON_OPTIONS, RELAXED_JSON_OPTIONS
from pymongo.database import Database
from pymongo.errors import OperationFailure

from backup_playbook.core.guards import CollectionsIdentity
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.mongodb.connection import CODEC, Document

WORDS = EngineWords(
    "collection",
    "document",
    not_copied="users and roles",
    undo_records="run it in production, as it says at its top",
)

JSON = CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_SHORT = RELAXED_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
SIMPLE = {"locale": "simple"}
"""The collation of an index that is listed without one."""
TTL = "expireAfterSeconds"
"""An option of indexes, time series and clustered collections."""
NEVER = 2**31 - 1
"""The most seconds that an index takes."""

SCRATCH_MARK = "backup_playbook_scratch"
"""A collection that only scratch databases have; see `scratch`. It is never backed up, or proven."""

SETS = "backup_playbook_sets"
"""A collection of a live database: which others in it are a copy, or were replaced by one; see `sets`."""

_NAMESPACE_NOT_FOUND = 26
_TYPES = frozenset(map(frozenset, (
    ("$oid",), ("$date",), ("$numberInt",), ("$numberLong",), ("$numberDouble",), ("$numberDecimal",), ("$binary",),
    ("$binary", "$type"), ("$uuid",), ("$code",), ("$code", "$scope"), ("$timestamp",), ("$regularExpression",),
    ("$dbPointer",), ("$symbol",), ("$undefined",), ("$minKey",), ("$maxKey",),
)))  # fmt: skip
"""The fields of every type that extended JSON knows, but for DBRef, which is a document."""
# as mongodump cuts names that are too long for a file
_LONGEST_NAME, _KEPT_OF_LONGER = 238, 208
# some S3 compatibles keep objects as files, and what we do to the content adds to the name
_LONGEST_KEY, _KEPT_OF_KEY = 230, 180


@dataclass(frozen=True)
class Collection:
    """A collection or view.

    kind: collection, timeseries or view. options, indexes: as the server lists them. uuid: hexadecimal, or empty.
    """

    name: str
    kind: str
    options: Document
    indexes: tuple[Document, ...] = ()
    uuid: str = ""

    @property
    def is_view(self) -> bool:
        """Whether it is a view, which has no documents of its own."""
        return self.kind == "view"

    @property
    def is_capped(self) -> bool:
        """Whether new documents push out old ones."""
        return bool(self.options.get("capped"))

    @property
    def data_name(self) -> str:
        """Name of the collection that holds its documents: those of a time series are in buckets."""
        return f"system.buckets.{self.name}" if self.kind == "timeseries" else self.name

    def within(self, name: str) -> Collection:
        """Return it as a member of a set; an empty name means none."""
        return replace(self, name=in_set(name, self.name)) if name else self

    def to_json(self) -> bytes:
        """Write canonical extended JSON, as mongodump does."""
        body = {"options": self.options, "indexes": list(self.indexes), "uuid": self.uuid}
        return to_json({**body, "collectionName": self.name, "type": self.kind}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Collection:
        """Read what `to_json` or mongodump wrote."""
        body = from_json(text.decode())
        return cls(body["collectionName"], body["type"], body["options"], tuple(body["indexes"]), body["uuid"])


def to_json(value: Any) -> str:
    """Write canonical extended JSON."""
    return json_util.dumps(value, json_options=JSON)


def for_people(value: Any) -> str:
    """Write JSON as a form takes it: 7 and not {"$numberInt": "7"}."""
    return json_util.dumps(value, json_options=_SHORT)


def from_json(text: str) -> Any:
    """Read extended JSON without loss: a value with more fields than its type has is a document.

    `{"$regex": "^a", "$ne": "abc"}` is a condition; the driver takes it for a regular expression, and drops the rest.
    """
    return json.loads(text, object_pairs_hook=_from_pairs)


def _from_pairs(pairs: list[tuple[str, Any]]) -> Any:
    document = dict(pairs)
    return json_util.object_hook(document, JSON) if frozenset(document) in _TYPES else document


def list_collections(database: Database[Document], leave_out: Iterable[str] = (), within: str = "") -> list[Collection]:
    """List collections by name, without indexes, without the server's own and ours.

    within: only those of this set, with its prefix in their names.
    """
    items = list(database.cursor_command({"listCollections": 1, "cursor": {}}, codec_options=CODEC))
    sets = tuple(in_set(mark["_id"], "") for mark in _marks(database, items))
    found = []
    for item in items:
        name = item["name"]
        if not name.startswith(in_set(within, "")) if within else name.startswith(sets):
            continue
        if (name.startswith("system.") and name != "system.js") or name in (SCRATCH_MARK, SETS, *leave_out):
            continue
        uuid = bytes(item.get("info", {}).get("uuid", b"")).hex()
        found.append(Collection(name, item.get("type", "collection"), item.get("options", {}), uuid=uuid))
    return sorted(found, key=lambda collection: collection.name)


def in_set(name: str, collection: str) -> str:
    """Name a collection of a set as its database does."""
    return f"{name}.{collection}"


def _marks(database: Database[Document], items: Iterable[Any]) -> Iterable[Document]:
    return database[SETS].find({}, ["_id"]) if any(item["name"] == SETS for item in items) else ()


def list_indexes(database: Database[Document], collection: Collection) -> tuple[Document, ...]:
    """List indexes; none for a view or a collection that is gone. Raises OperationFailure."""
    if collection.is_view:
        return ()
    try:
        # the driver's own methods know no dates beyond the year 9999
        indexes = list(database.cursor_command({"listIndexes": collection.name, "cursor": {}}, codec_options=CODEC))
    except OperationFailure as error:
        if error.code != _NAMESPACE_NOT_FOUND:
            raise
        return ()
    # older servers name the namespace, which a copy does not have
    return tuple({key: value for key, value in index.items() if key != "ns"} for index in indexes)


def identity(database: Database[Document], within: str = "") -> CollectionsIdentity:
    """Identify a database by the UUIDs of its collections. within: see `list_collections`."""
    found = list_collections(database, within=within)
    return CollectionsIdentity(database.name, frozenset(item.uuid for item in found if item.uuid))


def bson_file(database: str, collection: str) -> str:
    """Name the file of the documents as mongodump does: `shop/orders.bson`."""
    return f"{database}/{_escaped(collection)}.bson"


def metadata_file(database: str, collection: str) -> str:
    """Name the file of options and indexes as mongodump does."""
    return f"{database}/{_escaped(collection)}.metadata.json"


def object_name(file: str) -> str:
    """Name the object that holds a file: its own name, unless that is too long for an object store."""
    folder, _, name = file.partition("/")
    if len(name) <= _LONGEST_KEY:
        return file
    return f"{folder}/{name[:_KEPT_OF_KEY]}.{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def _escaped(name: str) -> str:
    escaped = quote(name, safe="$&+=:@")
    if len(escaped) <= _LONGEST_NAME:
        return escaped
    # mongodump's hash of the name, which only tells long names apart
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).digest()
    return f"{escaped[:_KEPT_OF_LONGER]}%24{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
