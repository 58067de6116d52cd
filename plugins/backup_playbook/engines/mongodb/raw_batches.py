"""Cursor over batches of raw documents that the driver does not look at.

PyMongo's own cursor for them makes an object of each document of a batch, which nobody uses: most of the time that it
takes, and one more copy of the batch. The rest of it is used as it is: sessions, retries, errors, the end of a cursor.
"""

from __future__ import annotations

from typing import Any

from bson import _convert_raw_document_lists_to_streams
from bson.raw_bson import _RAW_ARRAY_BSON_OPTIONS
from pymongo.collection import Collection
from pymongo.cursor import RawBatchCursor

from backup_playbook.engines.mongodb.connection import Document

_as_it_came: Any = _RAW_ARRAY_BSON_OPTIONS.document_class


class RawBatches(RawBatchCursor[Document]):
    """Faster `Collection.find_raw_batches`."""

    def __init__(
        self, collection: Collection[Document], query: Document, *, sort: list[tuple[str, int]], batch_size: int
    ) -> None:
        super().__init__(collection, query, sort=sort, batch_size=batch_size)

    def _unpack_response(self, response: Any, *_: Any, **__: Any) -> list[Any]:
        found = dict(_as_it_came(response.raw_command_response(), _RAW_ARRAY_BSON_OPTIONS))
        if "cursor" in found:  # else it is an error
            found["cursor"] = dict(found["cursor"])
            _convert_raw_document_lists_to_streams(found)
        return [found]
