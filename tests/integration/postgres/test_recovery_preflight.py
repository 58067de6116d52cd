"""What stands in the way of an exchange is found before anything is restored, and said with the way out."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.promotion import quarantine_name
from backup_playbook.engines.postgres.recovery_preflight import inspect_live
from embedded.postgres import PostgresServer
from tests.integration.postgres.lab import server_of
from tests.integration.postgres.pair import NOW, Pair


@pytest.fixture
def role(postgres18: PostgresServer, pair: Pair) -> Iterator[str]:
    """One that may log in, and nothing else."""
    with postgres18.connect() as session:
        session.execute("CREATE ROLE recoverer LOGIN PASSWORD 'r'")
        session.execute("CREATE ROLE shop_owner")
        session.execute(f"ALTER DATABASE {pair.live} OWNER TO shop_owner")
    yield "recoverer"
    for name in (pair.quarantine, pair.candidate, pair.live):
        postgres18.drop_database(name)
    with postgres18.connect() as session:
        session.execute("DROP ROLE recoverer, shop_owner")


def test_rights_that_are_missing_are_named_with_their_grant_and_then_suffice(pair: Pair, role: str) -> None:
    server = server_of(pair.server.dsn(user=role, password="r"))
    with pytest.raises(RestoreError) as caught:
        inspect_live(server, pair.live, 0)
    grants = caught.value.remedy.split("; ")
    wanted = ['ALTER ROLE "recoverer" CREATEDB', 'GRANT "shop_owner" TO "recoverer"', "GRANT pg_signal_backend TO"]
    assert [word for word in wanted if word not in caught.value.remedy] == []
    assert len(grants) == 3
    with pair.server.connect() as session:
        session.execute(caught.value.remedy.removeprefix("Nothing was touched. "))
        session.execute(f"ALTER DATABASE {pair.candidate} OWNER TO recoverer")
    assert inspect_live(server, pair.live, 0).free is None
    with psycopg.connect(pair.server.dsn(pair.live)):  # a superuser, whom this role cannot end
        with pytest.raises(RestoreError, match=r"1 sessions .* did not end"):
            replace(pair.promotion(drain_seconds=0.2), server=server).run()
        assert pair.note() == "old"
    replace(pair.promotion(), server=server).run()
    assert pair.note() == "new"


@pytest.mark.parametrize(
    ("setting", "named", "grant"),
    [
        (
            "ALTER DATABASE {} SET log_min_duration_statement = 100",
            "log_min_duration_statement",
            "GRANT SET ON PARAMETER log_min_duration_statement TO recoverer",
        ),
        ("ALTER ROLE shop_owner IN DATABASE {} SET work_mem = '7MB'", "shop_owner", None),
    ],
)
def test_settings_that_the_role_may_not_set_again(
    pair: Pair, role: str, setting: str, named: str, grant: str | None
) -> None:
    """The exchange would fail after the copy was restored and proven."""
    server = server_of(pair.server.dsn(user=role, password="r"))
    with pair.server.connect() as session:
        session.execute("GRANT shop_owner, pg_signal_backend TO recoverer")
        session.execute("ALTER ROLE recoverer CREATEDB")
        session.execute(setting.format(pair.live))
        before = pair.properties()
        with pytest.raises(RestoreError, match="could not be given what belongs to the name") as caught:
            inspect_live(server, pair.live, 0)
        assert named in caught.value.what
        assert "GRANT SET ON PARAMETER" in caught.value.remedy
        session.execute(grant or "ALTER ROLE recoverer CREATEROLE; GRANT shop_owner TO recoverer WITH ADMIN OPTION")
        inspect_live(server, pair.live, 0)
        assert pair.properties() == before
        session.execute(f"ALTER DATABASE {pair.candidate} OWNER TO recoverer")
    replace(pair.promotion(), server=server).run()
    assert pair.properties() == before
    with pair.server.connect() as session:
        session.execute("REVOKE SET ON PARAMETER log_min_duration_statement FROM recoverer")


def test_what_an_interrupted_drop_has_left(pair: Pair) -> None:
    with pair.server.connect() as session:
        session.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [pair.live])
        with pytest.raises(RestoreError, match="an interrupted DROP DATABASE") as caught:
            inspect_live(server_of(pair.server.dsn()), pair.live, 0)
    assert "new database" in caught.value.remedy


def test_free_space_is_looked_at(pair: Pair) -> None:
    server = server_of(pair.server.dsn())
    found = inspect_live(server, pair.live, 0)
    assert found.free
    assert found.accepts_connections
    with pytest.raises(RestoreError, match="free, and the copy beside it needs about"):
        inspect_live(server, pair.live, found.free * 2)


def test_a_database_that_does_not_exist(pair: Pair) -> None:
    with pytest.raises(RestoreError, match="has no database nothing"):
        inspect_live(server_of(pair.server.dsn()), "nothing", 0)


def test_what_is_not_carried_over_is_said(pair: Pair) -> None:
    with pair.server.connect(pair.live) as session:
        session.execute("CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)")
    try:
        found = inspect_live(server_of(pair.server.dsn()), pair.live, 0)
        assert "The subscriptions s stay with the quarantine: create them again." in found.remarks[0]
    finally:
        with pair.server.connect(pair.live) as session:
            session.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
            session.execute("DROP SUBSCRIPTION s")


def test_a_prepared_transaction_stands_in_the_way(tmp_path: Path) -> None:
    """It is found beforehand; one that came later leaves everything as it was. A slot stays with the old one."""
    server = PostgresServer(tmp_path / "server", settings={"max_prepared_transactions": "2", "wal_level": "logical"})
    try:
        server.start()
        for name, note in (("live", "old"), ("candidate", "new")):
            server.create_database(name)
            with server.connect(name) as session:
                session.execute(f"CREATE TABLE notes AS SELECT '{note}' AS v")
        pair = Pair(server, "live", "candidate", quarantine_name("live", NOW))
        with server.connect("live") as session:
            session.execute("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
        (remark,) = inspect_live(server_of(server.dsn()), "live", 0).remarks
        assert "slots feed stay" in remark
        assert "keeps all WAL" in remark
        with server.connect("live") as session:
            session.execute("BEGIN")
            session.execute("INSERT INTO notes VALUES ('undecided')")
            session.execute("PREPARE TRANSACTION 'of a bank'")
        with pytest.raises(RestoreError, match="has prepared transactions"):
            inspect_live(server_of(server.dsn()), "live", 0)
        with pytest.raises(RestoreError, match="accepts connections") as caught:
            pair.promotion().run()
        assert "pg_prepared_xacts" in caught.value.remedy
        assert pair.note() == "old"
    finally:
        server.remove()
