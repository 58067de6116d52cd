"""Progress of parallel streams, logged every few seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from backup_playbook.core.progress import progress_line
from backup_playbook.streams.blocks import Blocks

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0


class Progress:
    """Count of the bytes that pass, against estimates. Use as a context manager; a thread of its own writes the log."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._lock = threading.Lock()
        self._done = self._passed = 0
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._report, name="progress", daemon=True)

    def track(self, blocks: Blocks, estimate: int) -> Iterator[bytes]:
        """Count a stream that was estimated at `estimate` bytes; at its end it counts as exactly that."""
        counted = 0
        for block in blocks:
            step = min(len(block), estimate - counted)
            counted += step
            with self._lock:
                self._passed += len(block)
                self._done += step
            yield block
        with self._lock:
            self._done += estimate - counted

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _report(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            with self._lock:
                line = progress_line(self._done, self._total, time.monotonic() - self._started, self._passed)
            log.info("%s: %s", self._what, line)
