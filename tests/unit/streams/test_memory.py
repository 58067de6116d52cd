import threading
from concurrent.futures import ThreadPoolExecutor

from backup_playbook.streams.memory import MemoryLimit


def test_what_does_not_fit_waits_until_there_is_room() -> None:
    room, entered = MemoryLimit(10), threading.Event()

    def enter() -> None:
        with room.hold(5):
            entered.set()

    with ThreadPoolExecutor(1) as threads:
        with room.hold(4), room.hold(4):
            waiting = threads.submit(enter)
            assert not entered.wait(0.1)
        waiting.result(30)


def test_what_is_larger_than_all_room_gets_it_alone() -> None:
    room, inside, most = MemoryLimit(10), 0, 0
    lock = threading.Lock()

    def enter() -> None:
        nonlocal inside, most
        with room.hold(1000):
            with lock:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.01)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(enter) for _ in range(8)]:
            future.result(30)
    assert most == 1


def test_a_failure_makes_room_again() -> None:
    room = MemoryLimit(10)
    for _ in range(3):
        try:
            with room.hold(10):
                raise ValueError
        except ValueError:
            pass
    with room.hold(10):
        pass
