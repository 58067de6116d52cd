"""Programs as streams, with real programs: every end of a process is noticed, and nothing of it stays behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_playbook.core.errors import CancelledError, PlaybookError, ProcessFailedError
from backup_playbook.streams import processes
from backup_playbook.streams.processes import Cancellation, output, pipe, run

MIB = 1 << 20


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def open_files() -> list[str]:
    """What this process has open; the number alone would not tell what leaked."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return sorted(name for name in found if name.startswith("pipe:"))


def children() -> set[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text() if Path("/proc/self/task").exists() else ""
    return {int(pid) for pid in listed.split()}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    files, threads, before = open_files(), set(threading.enumerate()), children()
    yield
    eventually(lambda: open_files() == files)
    eventually(lambda: set(threading.enumerate()) <= threads)
    assert children() <= before, "a process still runs, or nobody waited for it"


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def zeros(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes(MIB)


# ends of a program


def test_output_is_what_the_program_printed() -> None:
    assert b"".join(output(sh("printf 'one two'"))) == b"one two"


def test_output_larger_than_every_buffer() -> None:
    assert sum(len(block) for block in output(sh("head -c 20000000 /dev/zero"))) == 20_000_000


@pytest.mark.parametrize("code", [1, 2, 127, 255])
def test_exit_code_after_a_full_output_is_an_error(code: int) -> None:
    stream = output(sh(f"echo complete; exit {code}"))
    assert next(stream) == b"complete\n"
    with pytest.raises(ProcessFailedError) as caught:
        next(stream)
    assert caught.value.exit_code == code


def test_error_carries_the_last_lines_only() -> None:
    with pytest.raises(ProcessFailedError) as caught:
        list(output(sh('for n in $(seq 100); do echo "line $n" >&2; done; exit 3')))
    lines = caught.value.stderr.splitlines()
    assert lines == [f"line {number}" for number in range(81, 101)]
    assert "sh failed with exit code 3" in str(caught.value)


def test_error_without_a_word_says_so() -> None:
    with pytest.raises(ProcessFailedError, match="it printed no error"):
        run(["false"])


def test_stderr_that_is_no_text() -> None:
    with pytest.raises(ProcessFailedError) as caught:
        run(sh(r"printf '\377\376 broken' >&2; exit 1"))
    assert "broken" in caught.value.stderr


def test_megabytes_of_stderr_do_not_block() -> None:
    assert run(sh("head -c 1000000 /dev/zero | tr '\\0' 'x' | fold -w 2000 >&2; echo done")) == b"done\n"


def test_signal_is_named() -> None:
    with pytest.raises(ProcessFailedError, match="was ended by signal 9") as caught:
        run(sh("kill -KILL $$"))
    assert caught.value.exit_code == -signal.SIGKILL


def test_missing_program_says_how_to_install_it() -> None:
    with pytest.raises(PlaybookError, match="no-such-program is not installed") as caught:
        list(output(["/nowhere/no-such-program"]))
    assert "apt-get install" in caught.value.remedy


def test_arguments_and_environment_are_passed_as_they_are() -> None:
    hostile = "$(touch x); `id` 'quoted' \"double\" \n newline"
    assert run(["printf", "%s", hostile]) == hostile.encode()
    assert run(["/bin/sh", "-c", 'printf %s "$ONLY$HOME"'], env={"ONLY": "this"}) == b"this"


def test_bytes_as_an_argument() -> None:
    assert run(["printf", "%s", b"caf\xe9"]) == b"caf\xe9"


# pipes


def test_pipe_carries_every_byte() -> None:
    source = os.urandom(5 * MIB + 17)
    blocks = (source[start : start + 70_001] for start in range(0, len(source), 70_001))
    assert b"".join(pipe(blocks, ["cat"])) == source


def test_pipe_without_input() -> None:
    assert b"".join(pipe((), ["wc", "-c"])).strip() == b"0"


def test_failing_feeder_wins_over_the_program_that_it_killed() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        list(pipe(blocks(), ["cat"]))


def test_failing_feeder_wins_over_a_program_that_ends_well_all_the_same() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        list(pipe(blocks(), sh("trap 'exit 0' TERM; cat > /dev/null; sleep 0.1")))


def test_a_program_never_takes_a_damaged_stream_for_a_whole_one(tmp_path: Path) -> None:
    """It would commit what it has read: it is ended before its input is."""
    whole = tmp_path / "whole"

    def blocks() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("damaged")

    with pytest.raises(RuntimeError, match="damaged"):
        list(pipe(blocks(), sh(f"cat > /dev/null && touch {whole}")))
    assert not whole.exists()


def test_failing_program_is_reported_with_its_words() -> None:
    with pytest.raises(ProcessFailedError, match="I do not like it") as caught:
        list(pipe(zeros(50), sh("head -c 10 > /dev/null; echo I do not like it >&2; exit 4")))
    assert caught.value.exit_code == 4


def test_program_that_wants_only_the_beginning_leaves_the_rest_to_its_caller() -> None:
    blocks = zeros(20)
    assert len(b"".join(pipe(blocks, ["head", "-c", "10"]))) == 10
    assert sum(1 for _ in blocks) > 5


def test_consumer_that_stops_early_ends_the_program() -> None:
    before = children()
    stream = pipe(zeros(1000), ["cat"])
    next(stream)
    assert children() > before
    stream.close()
    assert children() <= before


def test_consumer_that_stops_early_does_not_wait_for_a_silent_source() -> None:
    release = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"first"
        release.wait(30)

    stream = pipe(blocks(), ["cat"])
    assert next(stream) == b"first"
    started = time.monotonic()
    stream.close()
    waited = time.monotonic() - started
    release.set()
    assert waited < 5


def test_stream_that_is_never_read_starts_nothing() -> None:
    before = children()
    unread = [output(["sleep", "60"]), pipe((), ["sleep", "60"])]
    assert children() <= before
    assert unread


def test_chained_pipes_report_the_first_cause() -> None:
    first = output(sh("echo data; echo disk on fire >&2; exit 9"))
    with pytest.raises(ProcessFailedError, match="disk on fire"):
        list(pipe(pipe(first, ["cat"]), ["cat"]))


# cancellation


def test_cancel_from_another_thread() -> None:
    cancellation = Cancellation()
    stream = output(sh("echo started; exec sleep 60"), cancellation=cancellation)
    assert next(stream) == b"started\n"
    threading.Timer(0.1, cancellation.cancel).start()
    with pytest.raises(CancelledError):
        next(stream)


def test_cancel_ends_a_whole_chain() -> None:
    cancellation = Cancellation()
    endless = output(["yes"], cancellation=cancellation)
    stream = pipe(endless, ["cat"], cancellation=cancellation)
    next(stream)
    cancellation.cancel()
    with pytest.raises(CancelledError):
        list(stream)
    endless.close()


def test_nothing_starts_after_cancel() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        list(output(["sleep", "60"], cancellation=cancellation))
    with pytest.raises(CancelledError):
        list(pipe((), ["sleep", "60"], cancellation=cancellation))


def test_program_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "TERM_GRACE_SECONDS", 0.2)
    cancellation = Cancellation()
    # the inner sleeps hold the pipes open as well: the whole group has to go
    stream = output(sh("trap '' TERM; echo started; while :; do sleep 1; done"), cancellation=cancellation)
    assert next(stream) == b"started\n"
    cancellation.cancel()
    with pytest.raises(CancelledError):
        list(stream)


def test_cancel_inside_a_signal_handler_of_the_thread_that_holds_the_lock() -> None:
    cancellation = Cancellation()
    with cancellation._lock:
        cancellation.cancel()
    with pytest.raises(CancelledError):
        cancellation.check()


def test_many_streams_at_once_are_all_cancelled() -> None:
    cancellation = Cancellation()
    streams = [output(["yes"], cancellation=cancellation) for _ in range(8)]
    for stream in streams:
        next(stream)
    cancellation.cancel()
    for stream in streams:
        with pytest.raises(CancelledError):
            list(stream)


def test_programs_end_soon_after_their_parent_was_killed(tmp_path: Path) -> None:
    script = """
import sys
from backup_playbook.streams.processes import output, pipe
stream = pipe(output(["yes"]), ["cat"])
for count, block in enumerate(stream):
    if count == 3:
        print("running", flush=True)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ})
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"running\n"
        listed = [
            Path(f"/proc/{parent.pid}/task/{task.name}/children").read_text().split()
            for task in Path(f"/proc/{parent.pid}/task").iterdir()
        ]
        started = {int(pid) for pids in listed for pid in pids}
        assert len(started) == 2
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    eventually(lambda: not any(_runs(pid) for pid in started))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
