import threading
from collections.abc import Callable
from functools import partial

import pytest

from backup_playbook.core.errors import CancelledError
from backup_playbook.streams.parallel import SMALL_AT_ONCE, SMALL_BYTES, Job, run_by_size, run_jobs
from backup_playbook.streams.processes import Cancellation, output


def fails(error: Exception, when: threading.Event | None = None) -> Callable[[], int]:
    def run() -> int:
        if when:
            assert when.wait(10)
        raise error

    return run


def sleeps(cancellation: Cancellation, started: threading.Event) -> Callable[[], int]:
    def run() -> int:
        for _ in output(["sh", "-c", "echo started; exec sleep 60"], cancellation=cancellation):
            started.set()
        return 0

    return run


def test_results_are_in_the_order_of_the_jobs() -> None:
    jobs = [Job(weight, lambda weight=weight: weight * 10) for weight in (3, 9, 1, 7, 5)]  # type: ignore[misc]
    assert run_jobs(jobs, 2, Cancellation()) == [30, 90, 10, 70, 50]


def test_largest_start_first() -> None:
    started: list[int] = []
    jobs = [Job(weight, lambda weight=weight: started.append(weight)) for weight in (3, 9, 1, 7, 5)]  # type: ignore[misc]
    run_jobs(jobs, 1, Cancellation())
    assert started == [9, 7, 5, 3, 1]


def test_no_job_at_all() -> None:
    assert run_jobs([], 2, Cancellation()) == []


def test_failure_cancels_running_and_waiting_jobs() -> None:
    cancellation, started = Cancellation(), threading.Event()
    late: list[int] = []
    jobs = [
        Job(9, sleeps(cancellation, started)),
        Job(8, fails(ValueError("broken"), started)),
        *(Job(1, lambda: late.append(1) or 0) for _ in range(20)),
    ]
    with pytest.raises(ValueError, match="broken"):
        run_jobs(jobs, 2, cancellation)
    # one worker may take a waiting job before it sees the failure
    assert len(late) <= 1


def test_first_error_wins_whatever_its_weight() -> None:
    first_failed = threading.Event()

    def first() -> int:
        try:
            raise ValueError("first")
        finally:
            first_failed.set()

    def second() -> int:
        first_failed.wait(10)
        raise KeyError("second, because of the first")

    with pytest.raises(ValueError, match="first"):
        run_jobs([Job(9, second), Job(1, first)], 2, Cancellation())


def test_error_wins_over_the_cancellation_that_it_caused() -> None:
    cancellation, started = Cancellation(), threading.Event()
    jobs = [Job(9, sleeps(cancellation, started)), Job(1, fails(ValueError("cause"), started))]
    with pytest.raises(ValueError, match="cause"):
        run_jobs(jobs, 2, cancellation)


def test_cancel_from_outside() -> None:
    cancellation, started = Cancellation(), threading.Event()
    canceller = threading.Thread(target=lambda: started.wait(10) and cancellation.cancel())
    canceller.start()
    with pytest.raises(CancelledError):
        run_jobs([Job(1, sleeps(cancellation, started)) for _ in range(4)], 2, cancellation)
    canceller.join()


def test_more_small_jobs_at_once_than_large_ones() -> None:
    lock, running, most = threading.Lock(), {"small": 0, "large": 0}, {"small": 0, "large": 0}
    all_small = threading.Barrier(2 * SMALL_AT_ONCE)

    def run(size: str, number: int) -> int:
        with lock:
            running[size] += 1
            most[size] = max(most[size], running[size])
        if size == "small":
            all_small.wait(30)
        with lock:
            running[size] -= 1
        return number

    jobs = [
        Job(SMALL_BYTES - 1 if number % 2 else SMALL_BYTES, partial(run, "small" if number % 2 else "large", number))
        for number in range(4 * SMALL_AT_ONCE)
    ]
    assert run_by_size(jobs, 2, Cancellation()) == list(range(4 * SMALL_AT_ONCE))
    assert (most["small"], most["large"] <= 2) == (2 * SMALL_AT_ONCE, True)
