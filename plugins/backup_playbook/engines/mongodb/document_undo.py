"""Take back what recover_deleted_documents wrote:

    MONGODB_URI=mongodb://... python -m backup_playbook.engines.mongodb.document_undo FILE

Documents that somebody has changed since then stay as they are. An undo that was encrypted is opened with gpg, and
unpacked with zstd, before.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern

from backup_playbook.core.holdings import counted
from backup_playbook.engines.mongodb.connection import Document
from backup_playbook.engines.mongodb.ranges import RAW


@dataclass(frozen=True)
class Written:
    """A document as it was written, and what it took the place of; BSON."""

    then: bytes
    before: bytes | None


def undo_document(database: str, collection: str, written: Sequence[Written]) -> bytes:
    """JSON; documents in base64, byte for byte: JSON has no duplicate keys."""
    body = {
        "how": (__doc__ or "").strip(),
        "database": database,
        "collection": collection,
        "made_at": datetime.now(UTC).isoformat(),
        "documents": [
            {"written": _text(one.then), "before": None if one.before is None else _text(one.before)} for one in written
        ],
    }
    return json.dumps(body, indent=1).encode()


def is_unchanged(content: bytes) -> Document:
    """A filter for a document that is still so."""
    document = RawBSONDocument(content)
    return {"_id": {"$eq": document["_id"]}, "$expr": {"$eq": ["$$ROOT", {"$literal": document}]}}


def take_back(collection: Collection[RawBSONDocument], written: Sequence[Written]) -> int:
    """How many documents are as before again. Raises PyMongoError."""
    count = 0
    for one in reversed(written):
        if one.before is None:
            count += collection.delete_one(is_unchanged(one.then)).deleted_count
        else:
            count += collection.replace_one(is_unchanged(one.then), RawBSONDocument(one.before)).matched_count
    return count


def undo(uri: str, content: bytes) -> str:
    """Returns what was done, for people. Raises PyMongoError, and ValueError for a file of another kind."""
    body: dict[str, Any] = json.loads(content)
    documents = [
        Written(base64.b64decode(one["written"]), base64.b64decode(one["before"]) if one["before"] else None)
        for one in body["documents"]
    ]
    with MongoClient[RawBSONDocument](uri, document_class=RawBSONDocument) as client:
        database = client.get_database(body["database"], codec_options=RAW, write_concern=WriteConcern("majority"))
        count = take_back(database[body["collection"]], documents)
    return (
        f"Taken back: {counted(count, 'document')} of {body['collection']}; "
        f"left, for they were changed since or are gone: {len(documents) - count}."
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


if __name__ == "__main__":
    sys.stdout.write(undo(os.environ["MONGODB_URI"], Path(sys.argv[1]).read_bytes()) + "\n")
