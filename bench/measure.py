"""The stopwatch: contestants in turns, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

SAMPLE_SECONDS = 0.05


class Contestant(ABC):
    """One way to do the work. `what` tells people how, as a command or a sentence."""

    name: str
    what: str

    def before(self) -> None:  # noqa: B027 (most have nothing to get ready)
        """Get ready; not timed."""

    @abstractmethod
    def run(self) -> None:
        """The work. Raises PlaybookError when it failed: a failed run is never a fast one."""

    def after(self) -> int:
        """Clean up, not timed; also after a failed run. Returns the bytes that were stored."""
        return 0


@dataclass
class Series:
    """The counted runs of one contestant, in order."""

    what: str
    seconds: list[float] = field(default_factory=list)
    disk_bytes: list[int] = field(default_factory=list)
    """Written to local files by its processes, the servers' excluded."""
    stored_bytes: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def race(contestants: Sequence[Contestant], rounds: int, say: Callable[[str], None]) -> dict[str, Series]:
    """A B C A B C ...: one round that warms caches and does not count, then `rounds` that do."""
    results = {contestant.name: Series(contestant.what) for contestant in contestants}
    for number in range(rounds + 1):
        for contestant in contestants:
            seconds, disk_bytes, stored_bytes = _one(contestant)
            label = f"round {number} of {rounds}" if number else "warm-up"
            say(f"{label}: {contestant.name} {seconds:.2f} s")
            if number:
                series = results[contestant.name]
                series.seconds.append(seconds)
                series.disk_bytes.append(disk_bytes)
                series.stored_bytes.append(stored_bytes)
    return results


def ratio(numerator: Series, denominator: Series) -> tuple[float, tuple[float, float]]:
    """Ratio of the medians, and the smallest and largest ratio within one round."""
    each = [above / below for above, below in zip(numerator.seconds, denominator.seconds, strict=True)]
    return numerator.median / denominator.median, (min(each), max(each))


def peak_rss(contestant: Contestant) -> int:
    """Largest sum of the resident memory of all its processes, in bytes. Pages that they share count for each of them.

    In a run of its own: looking costs time.
    """
    contestant.before()
    try:
        with _Sampler() as sampler:
            contestant.run()
    finally:
        contestant.after()
    return sampler.peak


def _one(contestant: Contestant) -> tuple[float, int, int]:
    contestant.before()
    try:
        os.sync()  # what the one before wrote is not written back in the time of this one
        written = _bytes_written()
        start = time.perf_counter()
        contestant.run()
        seconds = time.perf_counter() - start
        written = _bytes_written() - written
    finally:
        stored = contestant.after()
    return seconds, written, stored


def _bytes_written() -> int:
    """To files, by this process and all children that have ended: the kernel adds theirs when they are waited for.

    Counts pages as they become dirty (tmpfs and pipes do not); the servers are still running, and so not in it.
    """
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


class _Sampler:
    """Watches what is started below this process while it is open."""

    def __init__(self) -> None:
        self.peak = 0
        self._before = {child.pid for child in psutil.Process().children(recursive=True)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rss-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        total = 0
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                parent = child.parent()
                # the same arguments: a moment between fork and exec, whose memory is its parent's
                if child.pid not in self._before and parent and child.cmdline() != parent.cmdline():
                    total += child.memory_info().rss
        return total
