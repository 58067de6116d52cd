"""Scratch databases: made, marked, found and dropped; and nothing else is ever dropped."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.conninfo import make_conninfo

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.guards import DatabaseIdentity
from backup_playbook.core.model import Manifest
from backup_playbook.engines.postgres import subscriptions
from backup_playbook.engines.postgres.connection import identity
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer
from backup_playbook.engines.scratch import Scratch, scratch_name
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import SOURCE, Lab, host_of, server_of, source_of


@pytest.fixture
def host(postgres18: PostgresServer) -> ScratchServer:
    return host_of(postgres18.dsn())


@pytest.fixture
def manifest(lab: Lab, postgres18: PostgresServer, small: str) -> Manifest:
    return lab.backup(source_of(postgres18.dsn(small)))


def names(host: ScratchServer) -> set[str]:
    return {scratch.name for scratch in host.list_scratches()}


def databases(server: PostgresServer) -> set[str]:
    with server.connect() as session:
        return {name for (name,) in session.execute("SELECT datname FROM pg_database")}


def identity_of(server: PostgresServer, database: str) -> DatabaseIdentity:
    with server.connect(database) as session:
        found = identity(session)
    assert found is not None
    return found


def test_a_scratch_from_its_making_to_its_end(
    host: ScratchServer, postgres18: PostgresServer, manifest: Manifest, scratch: MakeScratch
) -> None:
    target = scratch()
    target.create(manifest)
    (found,) = [item for item in host.list_scratches() if item.name == target.name]
    assert (found.source, found.backup_id, found.owner) == (SOURCE, manifest.backup_id, "test")
    assert found.created_at is not None
    assert datetime.now(UTC) - found.created_at < timedelta(minutes=1)
    target.drop()
    assert target.name not in databases(postgres18)
    target.drop()


def test_a_scratch_that_others_are_connected_to(
    postgres18: PostgresServer, manifest: Manifest, scratch: MakeScratch
) -> None:
    target = scratch()
    target.create(manifest)
    with postgres18.connect(target.name):
        target.drop()
    assert target.name not in databases(postgres18)


def test_one_that_cannot_be_dropped_is_not_waited_for(
    postgres18: PostgresServer, manifest: Manifest, scratch: MakeScratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = scratch()
    target.create(manifest)
    monkeypatch.setattr(subscriptions, "DROP_TIMEOUT_SECONDS", 1)
    with postgres18.connect() as session, session.transaction(force_rollback=True):
        session.execute(f"COMMENT ON DATABASE {target.name} IS 'held'")
        with pytest.raises(RestoreError, match="statement timeout") as caught:
            target.drop()
    assert "does not answer" in caught.value.remedy


def test_subscriptions_in_it_go_first(postgres18: PostgresServer, manifest: Manifest, scratch: MakeScratch) -> None:
    target = scratch()
    target.create(manifest)
    with postgres18.connect(target.name) as session:
        session.execute(
            "CREATE SUBSCRIPTION \"a 'sub'\" CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p "
            "WITH (connect = false, slot_name = 'of_the_publisher')"
        )
    target.drop()
    assert target.name not in databases(postgres18)


def test_a_worker_that_was_killed_before_the_comment(host: ScratchServer, postgres18: PostgresServer) -> None:
    name = scratch_name(SOURCE)
    postgres18.create_database(name)
    try:
        assert Scratch(name) in host.list_scratches()
        host.drop(name)
        assert name not in databases(postgres18)
    finally:
        postgres18.drop_database(name)


@pytest.mark.parametrize("comment", [None, "mine", '{"backup_playbook": "scratch"}', "[]", '{"a": 1}'])
def test_what_is_not_ours_is_not_dropped(comment: str | None, host: ScratchServer, postgres18: PostgresServer) -> None:
    """A name as we give is not enough once there is something in it, or another comment on it."""
    name = scratch_name(SOURCE)
    postgres18.create_database(name)
    try:
        with postgres18.connect(name) as session:
            session.execute("CREATE TABLE precious AS SELECT 1 AS one")
            if comment:
                session.execute(f"COMMENT ON DATABASE {name} IS '{comment}'")
        assert name not in names(host)
        with pytest.raises(GuardError, match="is not a scratch"):
            host.drop(name)
        assert name in databases(postgres18)
    finally:
        postgres18.drop_database(name)


def test_a_marked_database_of_another_name_is_not_dropped(
    host: ScratchServer, postgres18: PostgresServer, manifest: Manifest, scratch: MakeScratch
) -> None:
    """It was promoted: its name says so, and its comment was forgotten."""
    target = scratch()
    target.create(manifest)
    name = f"promoted_{target.name}"
    with postgres18.connect() as session:
        session.execute(f"ALTER DATABASE {target.name} RENAME TO {name}")
    try:
        with pytest.raises(GuardError):
            host.drop(name)
    finally:
        postgres18.drop_database(name)


def test_production_is_not_dropped_by_whatever_address(
    postgres18: PostgresServer, manifest: Manifest, scratch: MakeScratch
) -> None:
    target = scratch()
    target.create(manifest)
    production = identity_of(postgres18, target.name)
    elsewhere = server_of(make_conninfo(postgres18.dsn(), host="localhost"))
    with pytest.raises(GuardError, match="is the production database"):
        ScratchServer(elsewhere, lambda: [production]).drop(target.name)
    assert target.name in databases(postgres18)


def test_production_is_not_written_to_by_whatever_address(
    lab: Lab, postgres18: PostgresServer, manifest: Manifest, scratch: MakeScratch
) -> None:
    target = scratch()
    target.create(manifest)
    elsewhere = server_of(make_conninfo(postgres18.dsn(), host="localhost"))
    disguised = ScratchDatabase(
        ScratchServer(elsewhere, lambda: [identity_of(postgres18, target.name)]), target.name, "test"
    )
    with pytest.raises(GuardError) as caught:
        disguised.restore(lab.reader(manifest), lab.cancellation)
    assert target.name in caught.value.what
    with postgres18.connect(target.name) as session:
        assert session.execute("SELECT FROM pg_class WHERE relname = 'measurements'").fetchall() == []


def test_the_database_that_was_backed_up_is_production_without_being_named(
    lab: Lab, postgres18: PostgresServer, small: str, manifest: Manifest, host: ScratchServer
) -> None:
    with pytest.raises(GuardError, match="is the production database small"):
        ScratchDatabase(host, small, "test").restore(lab.reader(manifest), lab.cancellation)


def test_two_at_once_do_not_meet(lab: Lab, host: ScratchServer, manifest: Manifest, scratch: MakeScratch) -> None:
    targets = [scratch(), scratch()]
    together = threading.Barrier(2)

    def run(target: ScratchDatabase) -> int:
        together.wait()
        lab.restore_into(target, manifest)
        return lab.prove(target, manifest).rows

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, targets)) == [manifest.rows] * 2
    assert {target.name for target in targets} <= names(host)


def test_a_name_that_is_taken(manifest: Manifest, scratch: MakeScratch) -> None:
    target = scratch()
    target.create(manifest)
    with pytest.raises(RestoreError, match="already exists"):
        target.create(manifest)


@pytest.mark.parametrize("source", ["shop", "Shop-2", "o'clock; --", "x" * 100, "ü"])
def test_names_are_harmless_and_never_the_same(source: str) -> None:
    one, other = scratch_name(source), scratch_name(source)
    assert one != other
    assert len(one) <= 63
    assert one.replace("_", "a").isalnum()
    assert one.isascii()


def test_encoding_and_locale_are_those_of_the_source(
    database: Database, lab: Lab, postgres18: PostgresServer, scratch: MakeScratch
) -> None:
    name = database()
    with postgres18.connect() as session:
        session.execute(f"DROP DATABASE {name}")
        session.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin "
            "BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
        )
    target = scratch()
    target.create(lab.backup(source_of(postgres18.dsn(name))))
    with postgres18.connect() as session:
        query = (
            "SELECT encoding, datlocprovider, datlocale, datcollate, datctype, daticurules FROM pg_database "
            "WHERE datname = %s"
        )
        assert session.execute(query, [target.name]).fetchall() == session.execute(query, [name]).fetchall()


def test_a_locale_that_the_server_lacks(manifest: Manifest, scratch: MakeScratch, postgres18: PostgresServer) -> None:
    properties = {**manifest.details["database"], "datcollate": "tlh_KX.UTF-8", "datctype": "tlh_KX.UTF-8"}
    foreign = manifest.model_copy(update={"details": {**manifest.details, "database": properties}})
    target = scratch()
    with pytest.raises(RestoreError) as caught:
        target.create(foreign)
    assert "tlh_KX.UTF-8" in caught.value.what
    assert "Install the locale" in caught.value.remedy
    assert target.name not in databases(postgres18)
