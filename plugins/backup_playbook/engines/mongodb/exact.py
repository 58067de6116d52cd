"""Writing of documents exactly as they are: a server puts the present time into an empty timestamp.

It does so for fields at the top of a document, other than `_id`, on insert and on replacement; not in an update by a
pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from bson import Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from backup_playbook.engines.mongodb.connection import Document
from backup_playbook.engines.mongodb.ranges import RAW

_EMPTY = Timestamp(0, 0)
_NO_TIME = b"\0" * 8
_MAY_BE_EMPTY = re.compile(rb"\x11[^\0]*\0{9}")  # type, name, and nine zeros: the end of the name, and the value


def has_empty_timestamp(document: bytes | memoryview) -> bool:
    """Check whether a server would put the present time into it."""
    document = bytes(document)
    # nearly all documents end here: this is in the path of every restore
    if _NO_TIME not in document or not _MAY_BE_EMPTY.search(document):
        return False
    fields = RawBSONDocument(document, RAW).items()
    return any(isinstance(value, Timestamp) and value == _EMPTY and name != "_id" for name, value in fields)


def empty_again(collection: Collection[Any], inserted: Iterable[bytes | memoryview]) -> None:
    """Give documents that were just inserted their empty timestamps back. Raises PyMongoError."""
    for content in inserted:
        if has_empty_timestamp(content):
            document = RawBSONDocument(content, RAW)
            replace_exactly(collection, {"_id": {"$eq": document["_id"]}}, document, validated=False)


def replace_exactly(
    collection: Collection[Any],
    query: Document,
    document: RawBSONDocument,
    session: ClientSession | None = None,
    *,
    validated: bool = True,
) -> bool:
    """Replace the document that `query` finds. Returns whether there was one. Raises PyMongoError."""
    if not has_empty_timestamp(document.raw):
        return collection.replace_one(query, document, session=session).matched_count > 0
    pipeline = [{"$replaceWith": {"$literal": document}}]
    done = collection.update_one(query, pipeline, session=session, bypass_document_validation=not validated)
    return done.matched_count > 0
