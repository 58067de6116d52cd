"""Databases of unusual shape and size, and names that psql must not understand."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_playbook.engines.postgres.copy_commands import _echo_word, psql
from embedded.postgres import PostgresServer
from tests.integration.postgres.lab import Lab, assert_restored, dump_text, source_of

Database = Callable[..., str]


def test_an_empty_database(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    origin, copy = database(), database()
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    lab.verify(manifest)
    assert manifest.tables == ()
    assert len(manifest.objects) == 2
    assert_restored(lab.restore(manifest, postgres18, copy))
    assert dump_text(postgres18, copy) == dump_text(postgres18, origin)


def test_five_thousand_tables(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    """With Postgres' own limits: one lock for each table and session that reads it must fit."""
    name = database()
    with postgres18.connect(name) as session:
        for start in range(0, 5000, 500):
            session.execute(
                f"DO $$ BEGIN FOR i IN {start}..{start + 499} LOOP "
                "EXECUTE format('CREATE TABLE t%s (id int)', i); "
                "EXECUTE format('INSERT INTO t%s VALUES (%s)', i, i); END LOOP; END $$"
            )
    started = time.monotonic()
    manifest = lab.backup(source_of(postgres18.dsn(name)))
    seconds = time.monotonic() - started
    lab.verify(manifest)
    assert manifest.rows == len(manifest.tables) == 5000
    assert len(manifest.objects) < 100
    assert seconds < 60, "thousands of tables must not cost a process each"


def test_an_index_that_lacks_rows(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    """Rows are counted where they are copied from; a corrupted index would count others."""
    name = database()
    with postgres18.connect(name) as session:
        session.execute("CREATE TABLE t AS SELECT i, repeat('x', 200) AS v FROM generate_series(1, 50000) i")
        session.execute("CREATE UNIQUE INDEX t_key ON t (i)")
        session.execute("UPDATE pg_index SET indisready = false WHERE indexrelid = 't_key'::regclass")
        session.execute("INSERT INTO t SELECT i FROM generate_series(50001, 50009) i")
        session.execute("UPDATE pg_index SET indisready = true WHERE indexrelid = 't_key'::regclass")
        session.execute("VACUUM (FREEZE, ANALYZE) t")
        assert session.execute("SELECT count(*) FROM t").fetchall() == [(50000,)]
    manifest = lab.backup(source_of(postgres18.dsn(name)))
    lab.verify(manifest)
    assert manifest.rows == 50009


def test_values_of_100_mb(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    """One row is one line of COPY text, here of 200 MB; it passes in blocks."""
    origin, copy = database(), database()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE huge (id int, b bytea, t text)")
        session.execute(r"INSERT INTO huge VALUES (1, decode(repeat('00ff5c0a', 25 << 20), 'hex'), NULL)")
        session.execute(r"INSERT INTO huge VALUES (2, NULL, repeat(E'\\ü\n', 4 << 20))")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    assert manifest.content_bytes > 200 << 20  # bytea is text of twice its size
    assert_restored(lab.restore(manifest, postgres18, copy))
    digests = []
    for name in (origin, copy):
        with postgres18.connect(name) as session:
            digests.append(session.execute("SELECT id, md5(b), md5(t) FROM huge ORDER BY id").fetchall())
    assert digests[0] == digests[1]


def test_a_database_in_another_encoding(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    copy = database()
    origin = f"latin_{copy}"
    with postgres18.connect() as session:
        session.execute(f"CREATE DATABASE {origin} TEMPLATE template0 ENCODING 'LATIN1'")
    try:
        with postgres18.connect(origin) as session:
            session.execute('CREATE TABLE "Grüße" (id serial PRIMARY KEY, "größe" text)')
            session.execute('INSERT INTO "Grüße" ("größe") SELECT \'über \' || i FROM generate_series(1, 3000) i')
            session.execute("CREATE TABLE \"klein ä\" AS SELECT 'ß'::text AS v")
        manifest = lab.backup(source_of(postgres18.dsn(origin), chunk_bytes=64 << 10))
        lab.verify(manifest)
        assert_restored(lab.restore(manifest, postgres18, copy))
        expected = [line for line in dump_text(postgres18, origin, "-E", "UTF8") if "client_encoding" not in line]
        assert [line for line in dump_text(postgres18, copy) if "client_encoding" not in line] == expected
    finally:
        postgres18.drop_database(origin)


@pytest.mark.parametrize("name", ["a=b c", 'Ünï "code"', "postgresql://x/y"])
def test_a_database_whose_name_looks_like_something_else(name: str, lab: Lab, postgres18: PostgresServer) -> None:
    postgres18.create_database(name)
    try:
        with postgres18.connect(name) as session:
            session.execute("CREATE TABLE t AS SELECT 1 AS one")
        assert lab.backup(source_of(postgres18.dsn(name))).rows == 1
    finally:
        postgres18.drop_database(name)


names = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1) | st.text("\\'\":`$-{}?n t01x", min_size=1),
    min_size=1,
    max_size=50,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names)
def test_psql_echoes_every_name_as_it_is(postgres18: PostgresServer, names: list[str]) -> None:
    script = "\n".join(rf"\echo {_echo_word(name)}" for name in names)
    argv = [*psql(postgres18.bin_dir / "psql"), "-d", postgres18.dsn(), "-f", "-"]
    answer = subprocess.run(argv, input=script.encode(), capture_output=True, check=True)
    assert answer.stdout.decode() == "".join(f"{name}\n" for name in names)
    assert answer.stderr == b""


CONFIG_TABLES = """
CREATE SCHEMA topo;
CREATE TABLE topo.z_topology (id serial PRIMARY KEY, name text);
INSERT INTO topo.z_topology (name) VALUES ('built in');
CREATE TABLE topo.a_layer (id int, topology_id int NOT NULL REFERENCES topo.z_topology);
CREATE TABLE topo.internal (id int);
INSERT INTO topo.internal VALUES (1);
SELECT pg_catalog.pg_extension_config_dump('topo.z_topology', 'WHERE name <> ''built in''');
SELECT pg_catalog.pg_extension_config_dump('topo.z_topology_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('topo.a_layer', '');
"""


@pytest.fixture
def extensions() -> Iterator[Path]:
    """A directory that the server may read, with an extension as PostGIS' topology is."""
    directory = Path(tempfile.mkdtemp(prefix="extensions-"))
    (directory / "extension").mkdir()
    (directory / "extension" / "config_tables.control").write_text("default_version = '1'\nrelocatable = false\n")
    (directory / "extension" / "config_tables--1.sql").write_text(CONFIG_TABLES)
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_an_extensions_configuration_tables(
    lab: Lab, postgres18: PostgresServer, database: Database, extensions: Path
) -> None:
    """Rows that came with the extension are its own; those of the user travel, in the order of its foreign keys."""
    origin, copy = database(), database()
    with postgres18.connect() as session:
        for name in (origin, copy):
            session.execute(f"ALTER DATABASE {name} SET extension_control_path = '{extensions}:$system'")
    with postgres18.connect(origin) as session:
        session.execute("CREATE EXTENSION config_tables")
        session.execute("INSERT INTO topo.z_topology (name) VALUES ('mine')")
        session.execute("INSERT INTO topo.a_layer VALUES (1, 2)")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    lab.verify(manifest)
    assert [(table.name, table.rows) for table in manifest.tables] == [("z_topology", 1), ("a_layer", 1)]
    assert_restored(lab.restore(manifest, postgres18, copy))
    with postgres18.connect(copy) as session:
        topologies = session.execute("SELECT id, name FROM topo.z_topology ORDER BY id").fetchall()
        assert topologies == [(1, "built in"), (2, "mine")]
        assert session.execute("SELECT * FROM topo.a_layer").fetchall() == [(1, 2)]
        assert session.execute("SELECT nextval('topo.z_topology_id_seq')").fetchall() == [(3,)]


@pytest.mark.parametrize("version", ["18", "15"])
@pytest.mark.parametrize("key", ["uuid", "text", "varchar(40)", "bigint", "numeric", "date", "timestamptz", "bytea"])
def test_keys_of_every_type_can_be_chunked(
    key: str, version: str, request: pytest.FixtureRequest, lab: Lab, database: Database
) -> None:
    server: PostgresServer = request.getfixturevalue(f"postgres{version}")
    origin = database(server)
    values = {
        "uuid": "md5(i::text)::uuid",
        "date": "date '2000-01-01' + i",
        "timestamptz": "to_timestamp(i)",
        "bytea": "decode(md5(i::text), 'hex')",
    }
    with server.connect(origin) as session:
        session.execute(f"CREATE TABLE t (id {key} PRIMARY KEY, v text)".encode())
        value = values.get(key, f"i::{key}")
        session.execute(f"INSERT INTO t SELECT {value}, repeat('x', 100) FROM generate_series(1, 1000) i".encode())
        [(low, high)] = session.execute(
            "SELECT min(id::text), max(id::text) FROM t" if key == "uuid" else "SELECT '', ''"
        ).fetchall()
    manifest = lab.backup(source_of(server.dsn(origin), chunk_bytes=32 << 10))
    parts = manifest.tables[0].parts
    assert (len(parts) > 1, {part.key_min is None for part in parts}) == (True, {key == "bytea"})
    if key == "uuid":
        assert (min(str(part.key_min) for part in parts), max(str(part.key_max) for part in parts)) == (low, high)
