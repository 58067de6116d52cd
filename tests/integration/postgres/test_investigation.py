"""What is found out about a database that was replaced, and that it stays closed otherwise."""

import psycopg
import pytest

from backup_playbook.engines.postgres.investigation import amcheck, log_excerpt, opened, read_every_table
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database
from tests.integration.postgres.lab import server_of


@pytest.fixture
def damaged(postgres18: PostgresServer, database: Database) -> str:
    """`lost` has no file any more."""
    name = database()
    with postgres18.connect(name) as session:
        session.execute('CREATE TABLE "a . table" AS SELECT generate_series(1, 7) AS id')
        session.execute("CREATE TABLE lost AS SELECT generate_series(1, 7) AS id")
        session.execute("CHECKPOINT")
        ((path,),) = session.execute("SELECT pg_relation_filepath('lost')").fetchall()
    (postgres18.data / path).unlink()
    return name


@pytest.mark.parametrize("whole", [True, False])
def test_a_table_that_cannot_be_read_hides_no_other(whole: bool, damaged: str, postgres18: PostgresServer) -> None:
    counts = read_every_table(server_of(postgres18.dsn(damaged)), whole=whole)
    assert counts.rows == {"public.a . table": 7 if whole else 1}
    assert list(counts.unreadable) == ["public.lost"]
    assert "could not open file" in counts.unreadable["public.lost"]


def test_a_quarantine_is_open_only_meanwhile(postgres18: PostgresServer, database: Database) -> None:
    name = database()
    with postgres18.connect() as session:
        session.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    with opened(server_of(postgres18.dsn()), name) as server:
        assert read_every_table(server, whole=True).rows == {}
    with pytest.raises(RuntimeError), opened(server_of(postgres18.dsn()), name):
        raise RuntimeError
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        postgres18.connect(name)


def test_amcheck_is_asked_only_where_it_is(postgres18: PostgresServer, database: Database) -> None:
    name = database()
    server = server_of(postgres18.dsn(name))
    assert "has no extension amcheck" in amcheck(server, Cancellation())
    with postgres18.connect(name) as session:
        available = session.execute("SELECT FROM pg_available_extensions WHERE name = 'amcheck'").fetchone()
        if available is not None:
            session.execute("CREATE EXTENSION amcheck")
            session.execute("CREATE TABLE t (id int PRIMARY KEY)")
    if available is not None:
        assert amcheck(server, Cancellation()) == "no damage found"


def test_log_that_is_not_collected_is_said(postgres18: PostgresServer) -> None:
    assert "not collected" in log_excerpt(server_of(postgres18.dsn()))["why"]
