"""Take back what recover_deleted_documents wrote.

    MONGODB_URI=mongodb://... python -m backup_playbook.engines.mongodb.document_undo FILE

Documents that somebody has changed since then stay as they are. It ends with an error when others cannot be taken back,
names them, and can be run again. Open an encrypted undo with gpg first, and unpack it with zstd.
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
from pymongo.errors import PyMongoError, ServerSelectionTimeoutError
from pymongo.write_concern import WriteConcern

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.masking import shortened
from backup_playbook.core.words import counted
from backup_playbook.engines.mongodb.collections import for_people
from backup_playbook.engines.mongodb.connection import short
from backup_playbook.engines.mongodb.document_write import write_if_unchanged
from backup_playbook.engines.mongodb.exact import has_empty_timestamp
from backup_playbook.engines.mongodb.ranges import RAW

UNDO_COMMAND = "python -m backup_playbook.engines.mongodb.document_undo"
NAMED = 20
"""The most documents that a message names."""


@dataclass(frozen=True)
class Written:
    """A document as it was written, and the one that it replaced; BSON."""

    then: bytes
    before: bytes | None


def undo_document(database: str, collection: str, written: Sequence[Written]) -> bytes:
    """Write an undo as JSON; documents in base64, byte for byte: JSON has no duplicate keys."""
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


@dataclass(frozen=True)
class TakenBack:
    """Result of an undo.

    done: how many documents are as before. changed: `_id`s that somebody has changed or deleted since; they stay so.
    failed: `_id`s that may still be as they were written, each with the server's words.
    """

    done: int
    changed: tuple[str, ...]
    failed: tuple[str, ...]

    def require_all(self, where: str) -> None:
        """Raise RestoreError when documents stay as they were written."""
        if self.failed:
            raise RestoreError(
                f"{counted(len(self.failed), 'document')} of {where} could not be taken back, and may be as they "
                f"were written: {_listed(self.failed)}. Taken back: {self.done}.",
                "Correct what the server says, and run the undo again: it leaves what is as before, and what others "
                "have changed since.",
            )


def take_back(collection: Collection[RawBSONDocument], written: Sequence[Written]) -> TakenBack:
    """Take back one document after the other; go on after one that fails, unless the server is gone."""
    done, gone = 0, ""
    changed: list[str] = []
    failed: list[str] = []
    for one in reversed(written):
        key = shortened(for_people(RawBSONDocument(one.then, RAW)["_id"]))
        try:
            if gone:
                failed.append(f"{key} ({gone})")
            elif write_if_unchanged(collection, one.then, one.before):
                done += 1
            elif _may_be_stamped(collection, one):
                failed.append(f"{key} (it is there, and may have the server's time in an empty timestamp)")
            else:
                changed.append(key)
        except PyMongoError as error:
            failed.append(f"{key} ({short(error)})")
            if isinstance(error, ServerSelectionTimeoutError):
                gone = "there was no server any more"  # each of the others would wait for it, too
    return TakenBack(done, tuple(changed), tuple(failed))


def _may_be_stamped(collection: Collection[RawBSONDocument], one: Written) -> bool:
    """Check whether an import may have ended before it set the empty timestamps of an inserted document."""
    if one.before is not None or not has_empty_timestamp(one.then):
        return False
    return collection.find_one({"_id": {"$eq": RawBSONDocument(one.then, RAW)["_id"]}}) is not None


def undo(uri: str, content: bytes) -> str:
    """Run an undo, and describe it for people.

    Raises RestoreError when documents stay as they were written, and ValueError for a file of another kind.
    """
    body: dict[str, Any] = json.loads(content)
    documents = [
        Written(base64.b64decode(one["written"]), base64.b64decode(one["before"]) if one["before"] else None)
        for one in body["documents"]
    ]
    with MongoClient[RawBSONDocument](uri, document_class=RawBSONDocument) as client:
        database = client.get_database(body["database"], codec_options=RAW, write_concern=WriteConcern("majority"))
        found = take_back(database[body["collection"]], documents)
    found.require_all(body["collection"])
    return (
        f"Taken back: {counted(found.done, 'document')} of {body['collection']}; "
        f"left, for they were changed since or are gone: {len(found.changed)}"
        f"{f' ({_listed(found.changed)})' if found.changed else ''}."
    )


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - NAMED
    return "; ".join(keys[:NAMED]) + (f"; and {more} more" if more > 0 else "")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


if __name__ == "__main__":
    try:
        sys.stdout.write(undo(os.environ["MONGODB_URI"], Path(sys.argv[1]).read_bytes()) + "\n")
    except RestoreError as error:
        sys.exit(f"FAILED: {error}")
