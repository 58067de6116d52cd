"""Streams of BSON documents, cut where one ends and the next begins; nothing in them is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from backup_playbook.core.errors import VerificationError
from backup_playbook.streams.blocks import Blocks

BATCH_BYTES = 4 << 20
"""Size of a batch of documents; a larger document travels alone."""

_length = struct.Struct("<i").unpack_from
_SMALLEST = 5  # its length, and the zero at its end


class DocumentCounter:
    """Counts the documents of a stream whose blocks end anywhere."""

    def __init__(self) -> None:
        self.documents = 0
        self._head = b""
        self._skip = 0

    def update(self, block: bytes) -> None:
        """Count the documents that end in this block."""
        block = self._head + block
        position, end = self._skip, len(block)
        while position + 4 <= end:
            position += _size(block, position)
            self.documents += 1
        self._head = block[position:]
        self._skip = max(0, position - end)

    def finish(self) -> int:
        """Return the count. Raises VerificationError when the last document is not whole."""
        if self._head or self._skip:
            raise _no_bson()
        return self.documents


def batches(blocks: Blocks, most_bytes: int = BATCH_BYTES) -> Iterator[list[bytes]]:
    """Split a stream into batches of documents. Raises VerificationError when it holds none."""
    buffer = bytearray()
    for block in blocks:
        buffer += block
        if len(buffer) >= most_bytes and (documents := _take_whole(buffer)):
            yield documents
    if documents := _take_whole(buffer):
        yield documents
    if buffer:
        raise _no_bson()


def _take_whole(buffer: bytearray) -> list[bytes]:
    content = bytes(buffer)
    documents = []
    position, end = 0, len(content)
    while position + 4 <= end and (after := position + _size(content, position)) <= end:
        documents.append(content[position:after])
        position = after
    del buffer[:position]
    return documents


def _size(content: bytes, position: int) -> int:
    (size,) = _length(content, position)
    if size < _SMALLEST:
        raise _no_bson()
    found: int = size
    return found


def _no_bson() -> VerificationError:
    return VerificationError(
        "What should be BSON documents is none: their lengths do not fit.",
        "Use another backup, or the off-site copy. If this one was just taken, run the backup again and report it.",
    )
