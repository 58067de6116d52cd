"""The embedded Postgres server: what a test or a demo may do to it, it survives."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from embedded.postgres import PostgresServer
from embedded.processes import choose_port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path / "postgres")
    yield server.start()
    server.remove()


@pytest.mark.parametrize("version", ["16", "18"])
def test_starts_the_version_that_was_asked_for(tmp_path: Path, version: str) -> None:
    server = PostgresServer(tmp_path, version).start()
    try:
        with server.connect() as connection:
            assert connection.info.server_version // 10000 == int(version)
    finally:
        server.remove()


def test_wants_a_password(server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(password="wrong"))


def test_second_start_is_the_same_server(server: PostgresServer) -> None:
    again = PostgresServer(server.directory).start()
    assert (again.port, again.password) == (server.port, server.password)


def test_killed_server_starts_again_with_its_data(server: PostgresServer) -> None:
    server.create_database("kept")
    port = server.port
    connection = server.connect("kept")
    server.kill()
    assert not server.running
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")

    server.start()
    assert server.port == port
    server.connect("kept").close()


def test_pid_file_that_names_a_stranger_does_not_stop_a_start(server: PostgresServer) -> None:
    server.stop()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (server.data / "postmaster.pid").write_text(f"{stranger.pid}\n{server.data}\n0\n1\n\n127.0.0.1\n0 0\nready\n")
        server.start()
        assert stranger.poll() is None, "a stranger's process was ended"
        server.connect().close()
    finally:
        stranger.kill()
        stranger.wait()


def test_moves_to_another_port_when_its_own_is_taken(server: PostgresServer) -> None:
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)) as stranger:
        server.start()
        assert server.port != stranger.getsockname()[1]
    server.connect().close()


def test_tries_again_when_somebody_takes_the_port_in_between(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        choices = iter([stranger.getsockname()[1], choose_port()])
        monkeypatch.setattr("embedded.postgres.choose_port", lambda _preferred: next(choices))
        server.start()
    server.connect().close()


def test_removes_everything(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres").start()
    server.remove()
    assert not server.home.exists()
    assert not server.directory.exists()
    assert not server.running


def test_settings_reach_the_server(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", settings={"work_mem": "7MB"}).start()
    try:
        with server.connect() as connection:
            assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
    finally:
        server.remove()


def test_chooses_a_free_port_when_the_preferred_one_is_taken(server: PostgresServer) -> None:
    assert choose_port(server.port) != server.port
