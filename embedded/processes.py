"""Processes that outlive the command that started them, known again later by more than their pid."""

import contextlib
import fcntl
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.02
SERVER_PORTS = range(20_000, 32_000)
PORT_SECONDS = 1.0
# The start time of a process is derived from the boot time, which moves by some milliseconds when the clock is set.
START_TIME_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True)
class ProcessId:
    """A pid together with the moment its process started: a pid alone is reused by strangers."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Raises psutil.NoSuchProcess when it has ended already."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The running process, or None when it has ended (zombies have ended) or the pid belongs to another one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if self._is(process) and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    @property
    def alive(self) -> bool:
        return self.process() is not None

    def session(self) -> list[psutil.Process]:
        """The members of the session that the process leads or led: it and its descendants, also after its own end.

        The kernel gives a pid to nobody else as long as it names a session: a stranger with the pid means all ended.
        """
        with contextlib.suppress(psutil.NoSuchProcess):
            if not self._is(psutil.Process(self.pid)):
                return []
        return [p for p in psutil.process_iter() if _session_id(p.pid) == self.pid and not _ended(p)]

    def _is(self, process: psutil.Process) -> bool:
        started: float = process.create_time()
        return abs(started - self.started) <= START_TIME_TOLERANCE_SECONDS


def _session_id(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


def save_json(path: Path, document: Mapping[str, Any]) -> None:
    """Written beside and renamed, so that a crash leaves the old or the new document; readable by the owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(document))
    temporary.replace(path)


def load_json(path: Path) -> dict[str, Any]:
    """The document, or an empty one when the file is missing or damaged: a broken state file never blocks a start."""
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def save_process(path: Path, process: ProcessId) -> None:
    save_json(path, asdict(process))


def load_process(path: Path) -> ProcessId | None:
    try:
        return ProcessId(**load_json(path))
    except TypeError:
        return None


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the directory's lock: of two starts at once, the second waits and finds the work done."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Servers set it too, and without it a port stays "taken" for a minute after its server has ended.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose_port(preferred: int | None = None) -> int:
    """The preferred port when nobody has it, so that addresses survive a restart; else any free one.

    Those that systems give to outgoing connections are left alone: one of them would take the port of a stopped server.
    """
    # of a process that was killed, threads may hold it for a moment after the process has ended
    if preferred and wait_until(lambda: port_is_free(preferred), PORT_SECONDS):
        return preferred
    return next(port for port in random.sample(SERVER_PORTS, len(SERVER_PORTS)) if port_is_free(port))


def listens_on(process: psutil.Process, port: int) -> bool:
    """Whether this very process accepts connections on the port (not somebody else who took it first)."""
    with contextlib.suppress(psutil.Error):
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp"))
    return False


def wait_until(condition: Callable[[], bool], seconds: float, poll_seconds: float = POLL_SECONDS) -> bool:
    """Asks again and again until the condition holds; False when it did not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_seconds)
    return True


def spawn(
    command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path
) -> "subprocess.Popen[bytes]":
    """Starts a process in a session of its own: neither Ctrl-C nor the end of the terminal reaches it."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def terminate(processes: Sequence[psutil.Process], seconds: float = 10) -> None:
    """SIGTERM, and SIGKILL for those that are still there after the time. Returns when all have ended."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    if not wait_until(lambda: all(map(_ended, processes)), seconds):
        kill(processes)


def kill(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL at once. Returns when all have ended."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: all(map(_ended, processes)), 10)


def _ended(process: psutil.Process) -> bool:
    """A zombie has ended, however long its parent takes to collect it; our own children are collected here."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        if process.status() != psutil.STATUS_ZOMBIE:
            return False
        if process.ppid() == os.getpid():
            process.wait(timeout=0)
    return True


def last_lines(log: Path, count: int = 15) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""
