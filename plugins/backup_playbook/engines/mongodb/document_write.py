"""Replace or delete a document only while it is still as it was seen, whatever its size.

A filter can hold what was seen, and the server compares: one command, and every server knows it. But the two forms of
a document of more than 8 MB are more than a command may hold. Such a document is read and compared in a transaction,
which fails when somebody else writes to it meanwhile. A standalone has no transactions: there the filter holds what is
small of it, and what else changes in the moment between the read and the write is not noticed.
"""

from __future__ import annotations

import re
from typing import Any

from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from backup_playbook.engines.mongodb.connection import TRANSACTIONS_SINCE_WIRE_VERSION, Document, has_members
from backup_playbook.engines.mongodb.exact import replace_exactly
from backup_playbook.engines.mongodb.ranges import RAW

MOST_BYTES = (16 << 20) - (256 << 10)
"""Limit of the documents in one command; the rest is room for what is around them."""
SMALL_BYTES, ALL_SMALL_BYTES = 4 << 10, 64 << 10
"""Limits of one field, and of all, that a filter compares beside a document of 16 MB."""
# what aggregation takes for the name of one field
_PLAIN_NAME = re.compile(r"[^.$\0][^.\0]*")


def write_if_unchanged(live: Collection[RawBSONDocument], seen: bytes, new: bytes | None) -> bool:
    """Replace what was seen by `new`, or delete it. False: it has changed or is gone, and stays so.

    Raises PyMongoError.
    """
    if len(seen) + len(new or b"") <= MOST_BYTES:
        return _write(live, _is(seen), new)
    if not has_members(live.database, TRANSACTIONS_SINCE_WIRE_VERSION):
        return _compare_and_write(live, seen, new)
    with live.database.client.start_session() as session:
        return session.with_transaction(
            lambda inner: _compare_and_write(live, seen, new, inner),
            read_concern=ReadConcern("snapshot"),
            write_concern=WriteConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )


def _compare_and_write(
    live: Collection[RawBSONDocument], seen: bytes, new: bytes | None, session: ClientSession | None = None
) -> bool:
    identity = {"_id": {"$eq": RawBSONDocument(seen, RAW)["_id"]}}
    now: Any = live.with_options(read_preference=ReadPreference.PRIMARY).find_one(identity, session=session)
    if now is None or now.raw != seen:
        return False
    return _write(live, identity if session else _has_small_fields(now), new, session)


def _write(
    live: Collection[RawBSONDocument], query: Document, new: bytes | None, session: ClientSession | None = None
) -> bool:
    if new is None:
        return live.delete_one(query, session=session).deleted_count > 0
    return replace_exactly(live, query, RawBSONDocument(new, RAW), session)


def _is(content: bytes) -> Document:
    document = RawBSONDocument(content, RAW)
    return {"_id": {"$eq": document["_id"]}, "$expr": {"$eq": ["$$ROOT", {"$literal": document}]}}


def _has_small_fields(document: RawBSONDocument) -> Document:
    """Build a filter of small fields, such as a state, a version, the time of the last change."""
    same: list[Document] = []
    room = ALL_SMALL_BYTES
    for name, value in document.items():
        size = len(encode({name: value}, codec_options=RAW))
        if size <= min(SMALL_BYTES, room) and _PLAIN_NAME.fullmatch(name):
            same.append({"$eq": [f"${name}", {"$literal": value}]})
            room -= size
    return {"_id": {"$eq": document["_id"]}, "$expr": {"$and": same}}
