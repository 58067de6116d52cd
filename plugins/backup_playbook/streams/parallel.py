"""Several streams at once, largest first; the first failure ends all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from backup_playbook.core.errors import CancelledError
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")


SMALL_BYTES = 1 << 20
SMALL_AT_ONCE = 4


@dataclass(frozen=True)
class Job(Generic[T]):
    """A piece of work; `weight` is its expected size, in any unit."""

    weight: int
    run: Callable[[], T]


def run_jobs(jobs: Sequence[Job[T]], workers: int, cancellation: Cancellation) -> list[T]:
    """Run jobs, and return their results in the order of `jobs`.

    When one fails, the others are cancelled, and the first error is raised.
    """
    errors: list[BaseException] = []

    def attempt(job: Job[T]) -> T:
        try:
            cancellation.check()
            return job.run()
        except BaseException as error:
            errors.append(error)
            cancellation.cancel()
            raise

    order = sorted(range(len(jobs)), key=lambda index: -jobs[index].weight)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="stream") as threads:
        futures = {index: threads.submit(attempt, jobs[index]) for index in order}
        try:
            wait(futures.values())
        except BaseException:  # the task itself is being ended
            cancellation.cancel()
            raise
    if errors:
        raise next((error for error in errors if not isinstance(error, CancelledError)), errors[0])
    return [futures[index].result() for index in range(len(jobs))]


def run_by_size(jobs: Sequence[Job[T]], streams: int, cancellation: Cancellation) -> list[T]:
    """Run jobs whose weight is in bytes: large ones `streams` at a time, then small ones, more at a time.

    Small jobs mostly wait for answers. Results and errors are those of `run_jobs`.
    """
    large = [index for index, job in enumerate(jobs) if job.weight >= SMALL_BYTES]
    small = [index for index, job in enumerate(jobs) if job.weight < SMALL_BYTES]
    results: dict[int, T] = {}
    for indexes, workers in ((large, streams), (small, SMALL_AT_ONCE * streams)):
        found = run_jobs([jobs[index] for index in indexes], workers, cancellation)
        results.update(zip(indexes, found, strict=True))
    return [results[index] for index in range(len(jobs))]
