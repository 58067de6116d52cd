"""What the engine restores is what was there, by the word of pg_dump, and the proof says so too."""

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from backup_playbook.core.errors import RestoreError, SourceError
from backup_playbook.core.model import Manifest
from backup_playbook.core.proof import Proof
from backup_playbook.engines.postgres import snapshot
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from embedded.postgres import PostgresServer
from include.sample import load
from tests.integration.postgres.conftest import Database, GpgHome, MakeScratch
from tests.integration.postgres.lab import (
    FIXTURES,
    SMALL_CHUNKS,
    Lab,
    assert_same,
    backup_role_dsn,
    dump_text,
    load_sql,
    source_of,
    wait_until,
    without,
)

Everything = Callable[[PostgresServer], str]
WITHOUT_OWNERS = ("--no-owner", "--no-privileges", "--no-tablespaces")


def restored_and_proven(lab: Lab, manifest: Manifest, target: ScratchDatabase) -> Proof:
    lab.verify(manifest)
    assert list(lab.restore_into(target, manifest)) == ["pre_data", "data", "post_data"]
    proof = lab.prove(target, manifest)
    assert (proof.rows, len(proof.tables)) == (manifest.rows, len(manifest.tables))
    return proof


@pytest.mark.parametrize("version", ["18", "16", "15"])
def test_everything_with_its_owners(
    version: str, request: pytest.FixtureRequest, lab: Lab, everything: Everything, scratch: MakeScratch
) -> None:
    server: PostgresServer = request.getfixturevalue(f"postgres{version}")
    origin, target = everything(server), scratch(server, owners=True)
    manifest = lab.backup(source_of(server.dsn(origin), chunk_bytes=SMALL_CHUNKS))

    proof = restored_and_proven(lab, manifest, target)

    assert_same(dump_of(server, target.name), dump_of(server, origin))
    assert (proof.large_objects > 3, proof.sequences > 5, proof.schema_objects > 100) == (True, True, True)
    assert settings_of(server, target.name) == settings_of(server, origin) != []


def test_everything_by_a_role_that_owns_nothing_of_it(
    postgres18: PostgresServer, lab: Lab, everything: Everything, scratch: MakeScratch
) -> None:
    origin, target = everything(postgres18), scratch()
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    restored_and_proven(lab, manifest, target)
    with postgres18.connect() as session:
        session.execute(f"ALTER DATABASE {origin} RESET ALL")  # they change how pg_dump writes
    assert settings_of(postgres18, target.name) == []
    # pg_dump writes large objects in groups by their owners; comments on extensions belong to their owner
    names = ((origin, *WITHOUT_OWNERS), (target.name, *WITHOUT_OWNERS))
    texts = (without(dump_of(postgres18, *words), "BLOB METADATA", "BLOBS") for words in names)
    source, copy = ([line for line in text if not line.startswith("COMMENT ON EXTENSION")] for text in texts)
    assert_same(copy, source)


@pytest.mark.parametrize("version", ["18", "16"])
def test_hostile_names_and_settings(
    version: str, request: pytest.FixtureRequest, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    server: PostgresServer = request.getfixturevalue(f"postgres{version}")
    origin, target = database(server), scratch(server, owners=True)
    load_sql(server, origin, FIXTURES / "hostile_names.sql", FIXTURES / "hostile_settings.sql")
    restored_and_proven(lab, lab.backup(source_of(server.dsn(origin))), target)
    assert_same(dump_of(server, target.name), dump_of(server, origin))
    assert not list(lab.directory.rglob("*hacked*"))
    with server.connect() as session:
        assert not session.execute("SELECT FROM pg_roles WHERE rolname = 'hacked'").fetchall()


@pytest.mark.parametrize("chunk_bytes", [8 << 10, 128 << 20])
def test_partitions_by_the_hash_of_an_enum(
    chunk_bytes: int, postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    origin, target = database(), scratch()
    load_sql(postgres18, origin, FIXTURES / "enum_hash_partitions.sql")
    proof = restored_and_proven(lab, lab.backup(source_of(postgres18.dsn(origin), chunk_bytes=chunk_bytes)), target)
    assert {table.how for table in proof.tables} == {"rows in any order"}


def test_hash_keys_that_hash_oids(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    """Arrays and records of an enum, and regclass: as an enum's, their rows belong elsewhere in another database."""
    origin = database()
    keys = {
        "colour[]": "ARRAY[c]",
        "pair": "ROW(c, 1)::pair",
        "regclass": "(ARRAY['a','b','c']::regclass[])[i % 3 + 1]",
    }
    with postgres18.connect(origin) as session:
        session.execute("CREATE TYPE colour AS ENUM ('red', 'green', 'blue'); CREATE TYPE pair AS (c colour, n int)")
        session.execute("CREATE TABLE a (); CREATE TABLE b (); CREATE TABLE c ()")
        for number, (key, value) in enumerate({**keys, "int": "i"}.items()):
            session.execute(
                f"CREATE TABLE p{number} (k {key}) PARTITION BY HASH (k);"
                f"CREATE TABLE p{number}_0 PARTITION OF p{number} FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
                f"CREATE TABLE p{number}_1 PARTITION OF p{number} FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
                f"INSERT INTO p{number} SELECT {value} FROM unnest(enum_range(NULL::colour)) c, generate_series(1, 9) i"
            )
    proof = restored_and_proven(lab, lab.backup(source_of(postgres18.dsn(origin))), scratch())
    in_order = {table.name for table in proof.tables if table.how == "bytes"}
    assert in_order == {"a", "b", "c", "p3_0", "p3_1"}


def test_the_shop_on_a_newer_server(
    postgres16: PostgresServer, postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    origin = database(postgres16)
    load(postgres16.dsn(origin), 0.003)
    manifest = lab.backup(source_of(backup_role_dsn(postgres16, origin), chunk_bytes=256 << 10))
    proof = restored_and_proven(lab, manifest, scratch(streams=3))
    assert any(len(table.parts) > 1 for table in manifest.tables)
    assert {table.how for table in proof.tables} == {"bytes"}


@pytest.mark.parametrize("method", ["passphrase", "recipients"])
def test_encrypted(
    method: str, postgres18: PostgresServer, small: str, lab: Lab, gpg_home: GpgHome, scratch: MakeScratch
) -> None:
    encryption = Encryption(passphrase="pass 'word' ü") if method == "passphrase" else gpg_home.encryption
    with Keyring(encryption) as keyring:
        lab.codec = Codec(keyring=keyring)
        restored_and_proven(lab, lab.backup(source_of(postgres18.dsn(small))), scratch())


def test_tables_that_a_pack_cannot_hold_whole(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    """No columns, only generated ones, unlogged, rows longer than a block, an end mark as a value."""
    origin, target = database(), scratch()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE bare ()")
        session.execute("INSERT INTO bare SELECT FROM generate_series(1, 5)")
        session.execute("CREATE TABLE made (one int GENERATED ALWAYS AS (1) STORED)")
        session.execute("INSERT INTO made SELECT FROM generate_series(1, 3)")
        session.execute("CREATE UNLOGGED TABLE quick AS SELECT repeat('x', 3000000) AS v UNION ALL SELECT E'\\\\.\\n'")
    restored_and_proven(lab, lab.backup(source_of(postgres18.dsn(origin))), target)
    assert_same(dump_of(postgres18, target.name), dump_of(postgres18, origin))


def test_a_materialised_view_of_a_foreign_table(
    postgres15: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    """A copy gets no password of the other server: what is read from there stays empty, and is named."""
    origin, target = database(postgres15), scratch(postgres15)
    options = f"host '127.0.0.1', port '{postgres15.port}', dbname '{origin}'"
    with postgres15.connect(origin) as session:
        for statement in (
            "CREATE EXTENSION postgres_fdw",
            "CREATE TABLE near AS SELECT 1 AS i",
            f"CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({options})",
            f"CREATE USER MAPPING FOR postgres SERVER there OPTIONS (password '{postgres15.password}')",
            "CREATE FOREIGN TABLE far (i int) SERVER there OPTIONS (table_name 'near')",
            "CREATE VIEW between_them AS SELECT i FROM far",
            "CREATE MATERIALIZED VIEW copied AS SELECT i FROM between_them",
            "CREATE MATERIALIZED VIEW copied_again AS SELECT i FROM copied",
            "CREATE MATERIALIZED VIEW own AS SELECT i FROM near",
        ):
            session.execute(statement)
    manifest = lab.backup(source_of(postgres15.dsn(origin)))
    proof = restored_and_proven(lab, manifest, target)
    assert proof.left_out[-1] == "the rows of 2 materialised views (REFRESH MATERIALIZED VIEW fills one)"
    with postgres15.connect(target.name) as session:
        assert session.execute("SELECT i FROM own").fetchall() == [(1,)]


def test_a_function_that_relies_on_its_search_path(
    postgres15: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    origin = database(postgres15)
    with postgres15.connect(origin) as session:
        session.execute("CREATE TABLE t AS SELECT 1 AS i")
        body = "BEGIN RETURN (SELECT count(*) FROM t); END"
        session.execute(f"CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS '{body}'")
        session.execute("CREATE MATERIALIZED VIEW m AS SELECT f()")
    manifest = lab.backup(source_of(postgres15.dsn(origin)))
    with pytest.raises(RestoreError, match='relation "t" does not exist') as caught:
        lab.restore_into(scratch(postgres15), manifest)
    assert "SET search_path at the source" in caught.value.remedy
    target = scratch(postgres15, only=("public",))
    lab.restore_into(target, manifest)
    assert lab.prove(target, manifest).rows == 1


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[str]:
    """The DSN of one, of a server with a table that is logged, and others that are not."""
    primary, server = PostgresServer(tmp_path / "primary").start(), PostgresServer(tmp_path / "standby").start()
    try:
        with primary.connect() as session:
            session.execute("CREATE TABLE kept AS SELECT i FROM generate_series(1, 5000) i")
            session.execute("CREATE UNLOGGED TABLE sessions (id serial, v text)")
            session.execute("INSERT INTO sessions (v) VALUES ('nobody misses it')")
        server.stop()
        shutil.rmtree(server.data)
        # -R writes how the primary is reached
        to_standby = ("-D", str(server.data), "-R", "-c", "fast", "-d", primary.dsn("replication"))
        copied = primary._run("pg_basebackup", *to_standby)
        assert copied.returncode == 0
        server.start()
        yield server.dsn(password=primary.password)
    finally:
        server.remove()
        primary.remove()


def test_a_standby(standby: str, lab: Lab, scratch: MakeScratch) -> None:
    """It has nothing of unlogged tables but their definitions; that is no difference, and it is said."""
    manifest = lab.backup(source_of(standby))
    assert [(table.name, table.rows) for table in manifest.tables] == [("kept", 5000)]
    proof = restored_and_proven(lab, manifest, scratch())
    unlogged = "the contents of public.sessions, public.sessions_id_seq (unlogged: the standby that was read has none)"
    assert unlogged in proof.left_out


def test_a_standby_that_does_not_follow(
    standby: str, tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backup is of the moment at which it stopped, and after a while it is none at all."""
    followed = lab.backup(source_of(standby))
    with psycopg.connect(standby) as session:
        session.execute("SELECT pg_wal_replay_pause()")
    with PostgresServer(tmp_path / "primary").connect() as primary:
        primary.execute("INSERT INTO kept VALUES (0)")
    time.sleep(1)
    stopped = lab.backup(source_of(standby))
    assert (stopped.snapshot_at < followed.snapshot_at, stopped.rows) == (True, followed.rows)
    monkeypatch.setattr(snapshot, "STALE_AFTER", timedelta(seconds=0.5))
    with pytest.raises(SourceError, match="is a standby that is") as caught:
        lab.backup(source_of(standby))
    assert "back up the primary" in caught.value.remedy
    with psycopg.connect(standby, autocommit=True) as session:
        session.execute("SELECT pg_wal_replay_resume()")
        wait_until(lambda: session.execute("SELECT count(*) FROM kept").fetchall() == [(5001,)])
    assert lab.backup(source_of(standby)).rows == 5001


def test_a_table_that_takes_longer_than_a_transaction_may(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    origin, target = database(), scratch()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE t AS SELECT i, repeat(md5(i::text), 50) AS v FROM generate_series(1, 50000) i")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    target.create(manifest)
    with postgres18.connect() as session:
        session.execute(f"ALTER DATABASE {target.name} SET transaction_timeout = '100ms'")
    target.restore(lab.reader(manifest), lab.cancellation)
    assert lab.prove(target, manifest).rows == 50000


def test_the_planner_knows_the_copy(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    """It may go live at once."""
    origin, target = database(), scratch()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE t AS SELECT i % 7 AS i FROM generate_series(1, 700) i")
        session.execute("CREATE TABLE parted (i int) PARTITION BY RANGE (i)")
        session.execute("CREATE TABLE parted_0 PARTITION OF parted FOR VALUES FROM (0) TO (9)")
        session.execute("INSERT INTO parted TABLE t")
    restored_and_proven(lab, lab.backup(source_of(postgres18.dsn(origin))), target)
    with postgres18.connect(target.name) as session:
        known = session.execute("SELECT tablename, n_distinct FROM pg_stats WHERE schemaname = 'public' ORDER BY 1")
        assert known.fetchall() == [("parted", 7), ("parted_0", 7), ("t", 7)]


def test_rows_of_many_lengths_keep_their_order(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    """Short rows would fit into what long ones left on earlier pages."""
    origin, target = database(), scratch()
    with postgres18.connect(origin) as session:
        for name, last in (("packed", 20_000), ("streamed", 90_000)):
            session.execute(f"CREATE TABLE {name} (id int, v text)")
            session.execute(
                f"INSERT INTO {name} SELECT i, repeat('x', (hashint4(i) & 1023) / (1 + (i / 256) % 5)) "
                f"FROM generate_series(1, {last}) i"
            )
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    assert {part.object[:4] for table in manifest.tables for part in table.parts} == {"pack", "0000"}
    proof = restored_and_proven(lab, manifest, target)
    assert {table.how for table in proof.tables} == {"bytes"}


def dump_of(server: PostgresServer, database: str, *options: str) -> list[str]:
    """User mappings are left out of a copy, so that it reaches no foreign server."""
    return without(dump_text(server, database, *options), "USER MAPPING")


def settings_of(server: PostgresServer, database: str) -> list[object]:
    with server.connect() as session:
        query = (
            "SELECT setrole, setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
            "WHERE datname = %s ORDER BY setrole"
        )
        return session.execute(query, [database]).fetchall()
