"""Long streams: in batches, and with results in order while some work is still done."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last one may be shorter, and none is empty."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def in_order(slots: Iterable[T | Future[T]], window: int) -> Iterator[T]:
    """Yield results in the order of their slots, of which no more than `window` wait. Cancels the rest on an error."""
    waiting: deque[T | Future[T]] = deque()
    try:
        for slot in slots:
            waiting.append(slot)
            while waiting and (len(waiting) > window or not isinstance(waiting[0], Future) or waiting[0].done()):
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for slot in waiting:
            if isinstance(slot, Future):
                slot.cancel()


def _result(slot: T | Future[T]) -> T:
    return slot.result() if isinstance(slot, Future) else slot
