"""include/sql/backup_role.sql, the grants that the README documents: enough for a backup, and for no change."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from embedded.postgres import PostgresServer

SCRIPT = Path(__file__).resolve().parents[2] / "include/sql/backup_role.sql"
DATABASE = 'Orders "EU"'
PASSWORD = "it's a pass word"


@pytest.fixture(scope="module", params=["15", "18"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of its own: the role is one per server, and its name is fixed."""
    server = PostgresServer(tmp_path_factory.mktemp("role") / "postgres", request.param)
    try:
        server.start()
        server.create_database(DATABASE)
        with server.connect(DATABASE) as connection:
            connection.execute("CREATE SCHEMA private")
            connection.execute("CREATE TABLE private.orders (id serial PRIMARY KEY, note text)")
            connection.execute("INSERT INTO private.orders (note) VALUES ('first')")
            connection.execute("SELECT lo_from_bytea(4711, 'a contract')")
            connection.commit()
        subprocess.run(
            [server.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.dsn(DATABASE), "-f", SCRIPT],
            env={**os.environ, "BACKUP_PASSWORD": PASSWORD},
            check=True,
        )
        yield server
    finally:
        server.remove()


def dsn(server: PostgresServer) -> str:
    return server.dsn(DATABASE, user="backup", password=PASSWORD)


def test_dumps_everything_large_objects_too(server: PostgresServer) -> None:
    result = subprocess.run(
        [server.bin_dir / "pg_dump", "-d", dsn(server)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "first" in result.stdout
    assert b"a contract".hex() in result.stdout


def test_reads_tables_that_are_created_later(server: PostgresServer) -> None:
    with server.connect(DATABASE) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS later")
        connection.execute("CREATE TABLE IF NOT EXISTS later.t AS SELECT 1 AS one")
        connection.commit()
    with psycopg.connect(dsn(server)) as connection:
        assert connection.execute("SELECT one FROM later.t").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO private.orders (note) VALUES ('second')",
        "SELECT nextval('private.orders_id_seq')",
        "DROP TABLE private.orders",
        "CREATE TABLE private.mine (id int)",
        "CREATE TABLE mine (id int)",
    ],
)
def test_changes_nothing(server: PostgresServer, statement: str) -> None:
    """Even when it switches off the default of read-only transactions."""
    with (
        psycopg.connect(dsn(server), options="-c default_transaction_read_only=off") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_a_mistake_with_a_large_object_is_an_error_from_postgres_16(server: PostgresServer) -> None:
    with psycopg.connect(dsn(server)) as connection:
        if connection.info.server_version >= 160000:
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("SELECT lo_unlink(4711)")
        else:
            connection.execute("SELECT lo_unlink(4711)")
            connection.rollback()
