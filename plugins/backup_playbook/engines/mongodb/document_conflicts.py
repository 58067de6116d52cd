"""Conflicts of documents with unique indexes of production."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import Int64
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from backup_playbook.engines.mongodb.collections import SIMPLE
from backup_playbook.engines.mongodb.connection import Document


@dataclass(frozen=True)
class UniqueIndex:
    """A unique index. filter: of a partial one. sparse: documents without any of its fields are not in it."""

    name: str
    fields: tuple[str, ...]
    filter: Document
    sparse: bool
    collation: Document

    def is_taken(self, live: Collection[RawBSONDocument], document: RawBSONDocument) -> bool:
        """Check whether a document with another `_id` has its values.

        A partial index counts even if it would not hold this document: rather a conflict too many.
        """
        values = [list(_at(document, field.split("."))) for field in self.fields]
        if self.sparse and not any(values):
            return False
        same = [{field: {"$in": found or [None]}} for field, found in zip(self.fields, values, strict=True)]
        query = {"$and": [{"_id": {"$ne": document["_id"]}}, *same, *([self.filter] if self.filter else [])]}
        return live.find_one(query, collation=self.collation) is not None


def unique_indexes(live: Collection[RawBSONDocument]) -> list[UniqueIndex]:
    """List the unique indexes of a collection, without that of `_id`."""
    return [
        UniqueIndex(
            index["name"],
            tuple(index["key"]),
            _plain(index.get("partialFilterExpression", {})),
            bool(index.get("sparse")),
            # without one, a query has the collation of the collection
            _plain(index.get("collation", SIMPLE)),
        )
        for index in live.list_indexes()
        if index.get("unique") and index["name"] != "_id_"
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return int(value) if isinstance(value, Int64) else value


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield the values that an index takes from a path of a document; of an array, its elements'."""
    if isinstance(value, list):
        for item in value:
            if not path or isinstance(item, Mapping):
                yield from _at(item, path) if path else [item]
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _at(value[path[0]], path[1:])
