"""Streams of bytes: iterators of blocks. Nothing here holds more than one block of them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator

Blocks = Iterable[bytes]

BLOCK_BYTES = 1 << 20


class Digest:
    """SHA-256 and length of the blocks that pass."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.bytes = 0

    def update(self, block: bytes | memoryview) -> None:
        """Add a block."""
        self._sha256.update(block)
        self.bytes += len(block)

    @property
    def sha256(self) -> str:
        """SHA-256 of all blocks so far, in hexadecimal."""
        return self._sha256.hexdigest()


def tap(blocks: Blocks, *observers: Callable[[bytes], None]) -> Iterator[bytes]:
    """Show every block to the observers as it passes."""
    for block in blocks:
        for observe in observers:
            observe(block)
        yield block


def withhold_last(blocks: Blocks) -> Iterator[bytes]:
    """Hand over each block when the next one has come, and the last one when the stream has ended without an exception.

    For programs that act on what they read: without its end, they cannot finish with data that turns out to be damaged.
    """
    held = b""
    for block in blocks:
        if held:
            yield held
        held = block
    yield held


@contextlib.contextmanager
def closing(blocks: Blocks) -> Iterator[Blocks]:
    """End the programs and connections behind a stream as soon as nobody reads on, and not when it is collected."""
    try:
        yield blocks
    finally:
        if isinstance(blocks, Generator):
            blocks.close()


def sha256_of(blocks: Blocks) -> str:
    """Read a stream to its end; return its SHA-256 in hexadecimal."""
    digest = Digest()
    drain(tap(blocks, digest.update))
    return digest.sha256


def drain(blocks: Blocks) -> None:
    """Read a stream to its end, for what its observers learn."""
    for _ in blocks:
        pass
