"""Creation of collections and indexes as they were, without options that the server refuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pymongo.database import Database
from pymongo.errors import OperationFailure

from backup_playbook.engines.mongodb.collections import SIMPLE, TTL, Collection
from backup_playbook.engines.mongodb.connection import VOTES_SINCE_WIRE_VERSION, Document, has_members
from backup_playbook.engines.mongodb.legacy import without_dead, without_unknown

_INVALID_OPTIONS, _UNKNOWN_FIELD, _INVALID_INDEX_OPTION = 72, 40415, 197


def create_collection(database: Database[Document], collection: Collection) -> None:
    """Create a collection whose documents do not expire. Raises OperationFailure."""
    options = {name: value for name, value in collection.options.items() if name != TTL}
    try:
        database.command({"create": collection.name, **options})
    except OperationFailure as error:
        if error.code not in (_INVALID_OPTIONS, _UNKNOWN_FIELD) or without_dead(options) == options:
            raise
        database.command({"create": collection.name, **without_dead(options)})


def create_indexes(database: Database[Document], collection: Collection, indexes: Iterable[Document]) -> None:
    """Create all indexes but that of `_id`, which is there. Raises OperationFailure."""
    # without one, it would get the collation of the collection
    plain = {"collation": SIMPLE} if "collation" in collection.options else {}
    wanted = [{**plain, **index} for index in indexes if index["name"] != "_id_"]
    if not wanted:
        return
    try:
        _create(database, collection.name, wanted)
    except OperationFailure as error:
        known = list(map(without_unknown, wanted))
        if error.code != _INVALID_INDEX_OPTION or known == wanted:
            raise
        _create(database, collection.name, known)


def _create(database: Database[Document], name: str, indexes: Sequence[Document]) -> None:
    # by default all members vote: one that is down would hold it up for ever
    quorum = {"commitQuorum": "majority"} if has_members(database, VOTES_SINCE_WIRE_VERSION) else {}
    database.command({"createIndexes": name, "indexes": indexes, **quorum})
