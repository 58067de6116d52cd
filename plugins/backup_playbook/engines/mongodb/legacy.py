"""Indexes and options of older servers and drivers, in the form that a server takes today.

A copy is equal when it does the same: options that no server knows, versions that a server adds by itself and numbers
of another type are no differences. What a copy cannot have is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bson import Decimal128

from backup_playbook.engines.mongodb.collections import NEVER, SIMPLE, TTL, Collection, to_json
from backup_playbook.engines.mongodb.connection import Document

INDEX_OPTIONS = frozenset((
    "v", "key", "name", "background", "unique", "hidden", "partialFilterExpression", "sparse", TTL,
    "storageEngine", "weights", "default_language", "language_override", "textIndexVersion", "2dsphereIndexVersion",
    "bits", "min", "max", "bucketSize", "collation", "wildcardProjection", "prepareUnique", "clustered",
))  # fmt: skip
"""Options that mongod has documented; drivers before 3.4 could store others (`safe`, `w`, `dropDups`)."""
DEAD_OPTIONS = frozenset(("autoIndexId", "flags", "create", "temp", "recordPreImages"))
"""Options of a collection that some server lists, and a later one refuses."""
GONE = "geoHaystack"
"""A kind of index."""
_ADDED = frozenset(("v", "textIndexVersion", "2dsphereIndexVersion", "default_language", "language_override"))
"""Options that a server adds to an index that comes without."""


def up_to_date(collection: Collection) -> Collection:
    """Convert indexes for a server of today; unknown options stay, for the server is asked first."""
    return replace(collection, indexes=tuple(_index(index) for index in collection.indexes if not _is_gone(index)))


def without_unknown(index: Document) -> Document:
    """Drop options of an index for a server that refuses unknown ones."""
    return {name: value for name, value in index.items() if name in INDEX_OPTIONS}


def without_dead(options: Document) -> Document:
    """Drop options of a collection for a server that refuses those of older ones."""
    return {name: value for name, value in options.items() if name not in DEAD_OPTIONS}


def same_index(expected: Document, found: Document) -> bool:
    """Check whether two indexes do the same, apart from expiry, which a copy is given after its proof."""
    ours, theirs = _essence(expected), _essence(found)
    if expected["name"] == "_id_" or not expected.get("v"):
        ours.pop("v", None)
        theirs.pop("v", None)
    missing = {name for name in ours.keys() - theirs.keys() if name in INDEX_OPTIONS}
    added = theirs.keys() - ours.keys() - _ADDED
    return not missing and not added and all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())


def same_options(expected: Document, found: Document) -> bool:
    """Check whether two collections have the same options, apart from expiry."""
    ours, theirs = _texts(expected), _texts(found)
    dead = {name for name in DEAD_OPTIONS if name not in theirs}
    return {name: text for name, text in ours.items() if name not in dead} == theirs


def not_kept(collection: Collection, found: Collection) -> Iterator[str]:
    """Tell people what a copy lacks of a collection. found: the copy's, with its indexes."""
    if lost := sorted(name for name in DEAD_OPTIONS & collection.options.keys() if name not in found.options):
        yield f"of {collection.name} the options {', '.join(lost)}, which its server does not know any more"
    there = {index["name"]: index for index in found.indexes}
    for index in collection.indexes:
        if _is_gone(index):
            yield f"the index {index['name']} of {collection.name}: no server has the kind {GONE} since 5.0"
            continue
        made = there.get(index["name"], {})
        if made and (lost := sorted(index.keys() - made.keys() - INDEX_OPTIONS - {"ns"})):
            yield f"of the index {index['name']} of {collection.name} the options {', '.join(lost)}, which mean nothing"
        if TTL in index and (seconds := _index(index).get(TTL)) != index[TTL]:
            what = "no server acts on it" if seconds is None else "it is no number of seconds: nothing expires by it"
            yield f"of the index {index['name']} of {collection.name} the expiry after {index[TTL]} ({what})"


def _is_gone(index: Document) -> bool:
    return GONE in index["key"].values()


def _index(index: Document) -> Document:
    found = {**index, "key": {field: _direction(value) for field, value in index["key"].items()}}
    if not found.get("v", 1):
        del found["v"]  # version 0 is made by no server since 3.0
    if TTL in found:
        seconds = seconds_of(found)
        # only one field other than _id can say when a document expires
        if seconds is None or len(found["key"]) > 1 or "_id" in found["key"]:
            del found[TTL]
        elif seconds != found[TTL]:  # else it stays of the type that it has
            found[TTL] = seconds
    return found


def seconds_of(index: Document) -> int | None:
    """Return the seconds after which a TTL index removes documents; None when it never does."""
    value = index[TTL]
    if not _is_number(value) or value < 0:
        return None
    # NaN was taken for 0 by some servers, and removes everything
    return NEVER if math.isnan(value) or value > NEVER else int(value)


def _direction(value: Any) -> Any:
    """Convert as mongorestore does: anything but a number or a kind of index means ascending."""
    if isinstance(value, str):
        return value or 1
    return value if isinstance(value, Decimal128) or (_is_number(value) and value) else 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _essence(index: Document) -> dict[str, str]:
    key = {field: float(value) if _is_number(value) else value for field, value in index["key"].items()}
    return _texts({**index, "key": key})


def _texts(values: Document) -> dict[str, str]:
    """Write options as canonical extended JSON, without expiry and the default collation."""
    return {
        name: to_json(value) for name, value in values.items() if name != TTL and (name, value) != ("collation", SIMPLE)
    }
