"""Programs as streams.

Every process that is started is waited for, and its exit code and last words are checked. A pipe hides exit codes: a
stream from a process that failed ends with an exception, never quietly.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from backup_playbook.core.errors import CancelledError, PlaybookError, ProcessFailedError
from backup_playbook.core.server_words import PROGRAMS, ServerWords
from backup_playbook.streams.blocks import BLOCK_BYTES, Blocks

log = logging.getLogger(__name__)

Word = str | bytes | Path
STDERR_LINES_KEPT = 20
TERM_GRACE_SECONDS = 5.0


class Cancellation:
    """The end of all running processes of one piece of work, from any thread.

    parent: the work that this is a part of. Cancelling it cancels the part; a failed part is cancelled alone.
    """

    def __init__(self, parent: Cancellation | None = None) -> None:
        self._parent = parent
        # reentrant: a signal handler may cancel while its own thread is in here
        self._lock = threading.RLock()
        self._running: set[Program] = set()
        self._cancelled = False

    def cancel(self) -> None:
        """End all processes, and let no other one start."""
        with self._lock:
            self._cancelled = True
            running = tuple(self._running)
        for program in running:
            program.terminate()

    def check(self) -> None:
        """Raise CancelledError once cancel() was called."""
        if self._cancelled:
            raise CancelledError
        if self._parent:
            self._parent.check()

    def add(self, program: Program) -> None:
        """Have a program ended by cancel(); raises CancelledError when that was called already."""
        if self._parent:
            self._parent.add(program)
        with self._lock:
            self._running.add(program)
            self.check()

    def remove(self, program: Program) -> None:
        """Forget a program that has ended."""
        if self._parent:
            self._parent.remove(program)
        with self._lock:
            self._running.discard(program)


class Program:
    """A child process in its own process group; its stderr goes to the log and its last lines are kept."""

    def __init__(
        self,
        argv: Sequence[Word],
        *,
        env: Mapping[str, str] | None = None,
        cancellation: Cancellation | None = None,
        pass_fds: Sequence[int] = (),
        stdin: bool = False,
        cwd: Path | None = None,
    ) -> None:
        self.name = _program_name(argv)
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES_KEPT)
        self._cancellation = cancellation or Cancellation()
        self._cancellation.check()
        try:
            self._child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if env is None else dict(env),
                pass_fds=pass_fds,
                cwd=cwd,
                process_group=0,
                bufsize=0,
            )
        except FileNotFoundError:
            raise PlaybookError(
                f"The program {self.name} is not installed on this worker.",
                f"Install it (Debian: apt-get install {_debian_package(self.name)}) on every worker of this queue.",
            ) from None
        assert self._child.stdout is not None
        self._stdout, self.stdin = self._child.stdout, self._child.stdin
        _enlarge_pipe(self._stdout.fileno())
        self._reader = threading.Thread(target=self._read_stderr, name=f"{self.name}-stderr", daemon=True)
        self._reader.start()
        try:
            self._cancellation.add(self)
        except CancelledError:
            if self.stdin:
                self.stdin.close()
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def blocks(self) -> Iterator[bytes]:
        """Standard output, as a stream.

        Raises ProcessFailedError or CancelledError at the end when the program did not exit with 0.
        """
        try:
            while block := os.read(self._stdout.fileno(), BLOCK_BYTES):
                yield block
            self.check()
        finally:
            self.close()

    def check(self) -> None:
        """Wait for the end; raise ProcessFailedError or CancelledError when it was not a good one."""
        code = self._child.wait()
        self._reader.join()
        self._cancellation.check()
        if code != 0:
            raise ProcessFailedError(self.name, code, "\n".join(self._stderr))

    def terminate(self) -> None:
        """Send SIGTERM to the whole group, and SIGKILL when that does not help."""
        for sign, patience in ((signal.SIGTERM, TERM_GRACE_SECONDS), (signal.SIGKILL, None)):
            if self._child.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(patience)

    def close(self) -> None:
        """End the program if it still runs. Its stdin belongs to whoever feeds it, and is closed there."""
        self._cancellation.remove(self)
        self._stdout.close()
        self.terminate()
        self._reader.join()

    def _read_stderr(self) -> None:
        assert self._child.stderr is not None
        shown = ServerWords() if self.name in PROGRAMS else str
        with self._child.stderr as stream:
            for line in iter(stream.readline, b""):
                text = shown(line.decode(errors="replace").rstrip())
                if text is not None:
                    self._stderr.append(text)
                    log.info("%s: %s", self.name, text)


def run(
    argv: Sequence[Word], *, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = (), stdin: Blocks = ()
) -> bytes:
    """Run a program to its end and return what it printed; for small outputs."""
    return b"".join(pipe(stdin, argv, env=env, pass_fds=pass_fds))


def output(
    argv: Sequence[Word],
    *,
    env: Mapping[str, str] | None = None,
    cancellation: Cancellation | None = None,
    cwd: Path | None = None,
) -> Iterator[bytes]:
    """Output of a program, as a stream. The program starts when the first block is asked for."""
    yield from Program(argv, env=env, cancellation=cancellation, cwd=cwd).blocks()


def pipe(
    blocks: Blocks,
    argv: Sequence[Word],
    *,
    env: Mapping[str, str] | None = None,
    cancellation: Cancellation | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[bytes]:
    """Send `blocks` through a program, and stream its output.

    A failure of `blocks` wins over the program's own, which it caused. `blocks` is not closed: when the program did not
    want all of it, the caller may read on.
    """
    program = Program(argv, env=env, cancellation=cancellation, pass_fds=pass_fds, stdin=True)
    failure: list[BaseException] = []

    def feed() -> None:
        assert program.stdin is not None
        try:
            for block in blocks:
                _write_all(program.stdin.fileno(), block)
        except BrokenPipeError:
            pass  # the program ended early; check() knows whether that was a failure
        except BaseException as error:  # noqa: BLE001 - handed over to the reader of the stream
            failure.append(error)
            # while its stdin is open: the program must not take this for the end of good data, and commit it
            program.terminate()
        finally:
            program.stdin.close()

    feeder = threading.Thread(target=feed, name=f"{program.name}-stdin", daemon=True)
    feeder.start()
    try:
        # when nobody reads on, or it was cancelled, nothing waits for the feeder: it ends at its next write
        yield from program.blocks()
    except ProcessFailedError:
        feeder.join()
        if failure:
            raise failure[0] from None
        raise
    feeder.join()
    if failure:
        raise failure[0]


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _enlarge_pipe(descriptor: int) -> None:
    """Enlarge a pipe, for fewer switches between producer and consumer.

    Linux only. When a user's limit forbids it, the pipe stays small.
    """
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, BLOCK_BYTES)


def _debian_package(program: str) -> str:
    return {"gpg": "gnupg", "psql": "postgresql-client", "pg_dump": "postgresql-client"}.get(program, program)


def _program_name(argv: Sequence[Word]) -> str:
    """Name that the user knows a program by: `stdbuf -o1M psql` is psql."""
    words = (Path(os.fsdecode(word)).name for word in argv if not os.fsdecode(word).startswith("-"))
    return next(name for name in words if name != "stdbuf")
