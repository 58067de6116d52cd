"""Memory limits of streams whose pieces are large."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BYTES = 8 << 20


def give_back_large_blocks() -> None:
    """Make glibc return large blocks to the system as soon as they are free.

    After the first one it would keep them for the next, in as many heaps as there are threads: half as much memory
    again for blocks of 16 MB. Does nothing with another C library.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


class MemoryLimit:
    """A limit of bytes in use at the same time. A piece that is larger than the limit waits until it is alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._held = most_bytes, 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until there is room for `size` bytes; keep it until the `with` block ends."""
        size = min(size, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._held + size <= self._most)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()
