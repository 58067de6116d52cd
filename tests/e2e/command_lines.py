"""The command lines of all processes of the machine, as any user can read them, while something runs."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

EVERY_SECONDS = 0.05


class CommandLines:
    """Use as a context manager."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def seen(self) -> frozenset[bytes]:
        """Every command line that a sample met so far."""
        return frozenset(self._seen)  # a copy, for the sampling goes on

    def _sample(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self._seen.add(process.read_bytes())
                except OSError:
                    continue  # it has ended meanwhile
