"""What all servers of the stack have in common: start, kill, and the traces that a killed one leaves."""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Timer
from typing import ClassVar

import psutil
import pytest

from embedded.daemon import Daemon
from embedded.errors import EmbeddedError
from embedded.processes import ProcessId, choose_port, load_process, wait_until


class WebServer(Daemon):
    """A small real server with a child process."""

    name: ClassVar[str] = "web"

    def command(self, port: int) -> Sequence[str]:
        serve = f"{sys.executable} -m http.server --bind 127.0.0.1 {port}"
        return ["sh", "-c", f"sleep 300 & {serve}"]


class BrokenServer(Daemon):
    name: ClassVar[str] = "broken"

    def command(self, port: int) -> Sequence[str]:
        return ["sh", "-c", "echo the configuration is wrong >&2; exit 3"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    server = WebServer(tmp_path)
    yield server.start()
    server.stop()


def session(server: Daemon) -> list[psutil.Process]:
    process = load_process(server.directory / "process.json")
    assert process
    return process.session()


def accepts_connections(server: Daemon) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", server.port)) == 0


def test_server_that_ends_at_once_is_an_error_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="the configuration is wrong"):
        BrokenServer(tmp_path).start()


def test_server_that_was_never_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="never started"):
        _ = WebServer(tmp_path).port


def test_second_start_is_the_same_server(server: WebServer) -> None:
    before = session(server)
    WebServer(server.directory).start()
    assert session(server) == before


def test_stop_ends_the_server_and_its_children(server: WebServer) -> None:
    members = session(server)
    server.stop()
    assert len(members) == 3
    assert not session(server)
    assert not accepts_connections(server)


def test_start_ends_children_that_survived_a_killed_parent(server: WebServer) -> None:
    leader, *children = sorted(session(server), key=lambda process: process.pid)
    leader.kill()
    assert wait_until(lambda: not server.running, 10)
    assert all(child.is_running() for child in children)

    server.start()
    assert not set(children) & set(session(server))
    assert accepts_connections(server)


def test_port_that_is_held_for_a_moment_longer_is_kept() -> None:
    """By threads of a process that was killed."""
    with socket.create_server(("127.0.0.1", choose_port())) as held:
        port = held.getsockname()[1]
        Timer(0.2, held.close).start()
        assert choose_port(port) == port


def test_tries_again_when_somebody_takes_the_port_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        choices = iter([taken, choose_port()])
        monkeypatch.setattr("embedded.daemon.choose_port", lambda _preferred: next(choices))
        server = WebServer(tmp_path).start()
    try:
        assert server.port != taken
        assert accepts_connections(server)
    finally:
        server.stop()


def test_a_reused_pid_is_somebody_else() -> None:
    ourselves = ProcessId.of(os.getpid())
    assert ourselves.alive
    stranger = ProcessId(ourselves.pid, ourselves.started - 60)
    assert not stranger.alive
    assert not stranger.session()
