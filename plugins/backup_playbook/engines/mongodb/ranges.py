"""Ranges of `_id` in a large collection, in the server's own order of all values of all types.

A query such as {_id: {$gte: 5}} compares values of one type with each other: it would leave out every `_id` that is
text. The operators of $expr compare everything, and use the index.
"""

from __future__ import annotations

from dataclasses import dataclass

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from backup_playbook.engines.mongodb.collections import from_json, to_json
from backup_playbook.engines.mongodb.connection import Document

SAMPLES_PER_RANGE = 20
# a raw document keeps duplicate keys, dates of any year, and text that is not UTF-8: only what is shown is replaced
RAW = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)


@dataclass(frozen=True)
class IdRange:
    """Range `low <= _id < high`, in canonical extended JSON. None: no bound."""

    low: str | None = None
    high: str | None = None

    @property
    def query(self) -> Document:
        """Query that finds the documents of this range."""
        bounds = [
            # a text that begins with $ would be a field
            {operator: ["$_id", {"$literal": from_json(bound)}]}
            for operator, bound in (("$gte", self.low), ("$lt", self.high))
            if bound is not None
        ]
        return {"$expr": {"$and": bounds}} if bounds else {}


def between(bounds: list[str]) -> list[IdRange]:
    """Return the ranges that begin at each bound, and the one before: every `_id` is in exactly one."""
    return [IdRange(low, high) for low, high in zip([None, *bounds], [*bounds, None], strict=True)]


def split(collection: Collection[Document], ranges: int) -> list[IdRange]:
    """Split a collection into about `ranges` ranges of about equal size, by a sample."""
    raw = collection.with_options(codec_options=RAW)
    size = ranges * SAMPLES_PER_RANGE
    sample = raw.aggregate([{"$sample": {"size": size}}, {"$project": {"_id": 1}}, {"$sort": {"_id": 1}}])
    found = list(dict.fromkeys(to_json(document["_id"]) for document in sample))
    step = max(1, len(found) // ranges)
    return between(found[step::step][: ranges - 1])
