"""What is found out about a database that was replaced, and that it stays closed otherwise."""

import psycopg
import pytest

from backup_playbook.core.errors import SourceError
from backup_playbook.engines.postgres import investigation
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


def test_a_migration_that_keeps_a_table_locked(
    postgres18: PostgresServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = database()
    server = server_of(postgres18.dsn(name))
    monkeypatch.setattr(investigation, "SECONDS_PER_TABLE", 1)
    with postgres18.connect(name) as session, session.transaction():
        session.execute("CREATE TABLE t ()")
        session.execute("CREATE TABLE other ()")
    with psycopg.connect(server.url) as migration:
        migration.execute("LOCK TABLE t")
        with pytest.raises(SourceError, match=r"cannot be listed: .*statement timeout") as caught:
            read_every_table(server, whole=False)
    assert "AccessExclusiveLock" in caught.value.remedy


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


FICKLE_INDEX = """
CREATE EXTENSION amcheck;
CREATE TABLE t AS SELECT i::int4 AS id FROM generate_series(1, 1000) i;
CREATE FUNCTION fickle(int4, int4) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($1, $2)';
CREATE OPERATOR CLASS fickle_ops FOR TYPE int4 USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 fickle(int4, int4);
CREATE INDEX t_id ON t (id fickle_ops);
"""
TURNED = (
    "CREATE OR REPLACE FUNCTION fickle(int4, int4) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($2, $1)'"
)


def test_amcheck(postgres15: PostgresServer, database: Database) -> None:
    """Debian's server, for the wheel's ones have no amcheck."""
    name = database(postgres15)
    server = server_of(postgres15.dsn(name))
    assert "has no extension amcheck" in amcheck(server, Cancellation())
    with postgres15.connect(name) as session:
        session.execute(FICKLE_INDEX.encode())
        assert amcheck(server, Cancellation()) == "no damage found"
        session.execute(TURNED.encode())
    assert "item order invariant violated" in amcheck(server, Cancellation())


def test_log_that_is_not_collected_is_said(postgres18: PostgresServer) -> None:
    assert "not collected" in log_excerpt(server_of(postgres18.dsn()))["why"]
