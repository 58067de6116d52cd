"""Known-bad copies: every kind of difference is found, named, and told from the others."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.postgres.connection import PostgresServer as Server
from backup_playbook.engines.postgres.proof import prove
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from embedded.s3 import S3Gateway
from tests.integration.postgres.conftest import Database
from tests.integration.postgres.lab import Lab, server_of, source_of

SCHEMA = """
    CREATE TABLE big (id int PRIMARY KEY, v text);
    INSERT INTO big SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
    CREATE TABLE small (id int PRIMARY KEY, v text);
    INSERT INTO small SELECT i, 'row ' || i FROM generate_series(1, 10) i;
    CREATE TABLE blank (id int);
    CREATE TYPE colour AS ENUM ('red', 'green');
    CREATE TABLE paints (c colour) PARTITION BY HASH (c);
    CREATE TABLE paints_0 PARTITION OF paints FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE paints_1 PARTITION OF paints FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO paints SELECT unnest(enum_range(NULL::colour)) FROM generate_series(1, 50);
    CREATE SEQUENCE counter;
    SELECT setval('counter', 41);
    CREATE INDEX big_v ON big (v);
    CREATE VIEW shown AS SELECT id FROM small;
    CREATE FUNCTION answer(int) RETURNS int LANGUAGE sql AS 'SELECT 42';
    ALTER TABLE small ADD CONSTRAINT positive CHECK (id > 0);
    SELECT lo_from_bytea(4711, 'a large object');
    SELECT lo_from_bytea(4712, convert_to(repeat('0123456789', 20000), 'UTF8'));
"""
# what is done to the copy -> all that the proof must say
KNOWN_BAD = {
    "rows lost": ("DELETE FROM small WHERE id > 7", ["The table public.small has 7 rows where the backup has 10."]),
    "all rows lost": ("TRUNCATE big", ["The table public.big has 0 rows where the backup has 20,000."]),
    "a row too many": ("INSERT INTO blank VALUES (1)", ["The table public.blank has 1 row where the backup has 0."]),
    "a row changed": (
        "UPDATE small SET v = 'other' WHERE id = 3",
        ["The table public.small has the 10 rows of the backup, but other values in them."],
    ),
    "a row of a chunk changed": (
        "UPDATE big SET v = v || ' ' WHERE id = 11111",
        ["The table public.big has the 20,000 rows of the backup, but other values in them."],
    ),
    "a row in any order changed": (
        """WITH one AS (SELECT tableoid, ctid FROM paints WHERE c = 'green' LIMIT 1),
            gone AS (DELETE FROM paints p USING one WHERE (p.tableoid, p.ctid) = (one.tableoid, one.ctid))
            INSERT INTO paints VALUES ('red')""",
        ["The table public.paints has the 100 rows of the backup, but other values in them."],
    ),
    "a row in any order lost": (
        "DELETE FROM paints WHERE c = 'green'",
        ["The table public.paints has 50 rows where the backup has 100."],
    ),
    "table missing": (
        "DROP TABLE blank",
        ["TABLE public blank of the backup is missing.", "The table public.blank is missing."],
    ),
    "table extra": (
        "CREATE TABLE extra AS SELECT 1 AS one",
        ["TABLE public extra is not in the backup.", "The table public.extra is not in the backup."],
    ),
    "column renamed": (
        "ALTER TABLE blank RENAME id TO number",
        ["The table public.blank has the columns number where the backup has id."],
    ),
    "sequence wrong": (
        "SELECT nextval('counter')",
        ["""The sequence '"public"."counter"' is at 42 (called) where the backup has 41 (called)."""],
    ),
    "sequence never called": (
        "SELECT setval('counter', 41, false)",
        ["""The sequence '"public"."counter"' is at 41 (not called) where the backup has 41 (called)."""],
    ),
    "sequence missing": (
        "DROP SEQUENCE counter",
        ["""SEQUENCE public counter of the backup is missing.""", """The sequence '"public"."counter"' is missing."""],
    ),
    "index missing": ("DROP INDEX big_v", ["INDEX public big_v of the backup is missing."]),
    "view missing": ("DROP VIEW shown", ["VIEW public shown of the backup is missing."]),
    "function with other arguments": (
        "DROP FUNCTION answer(int); CREATE FUNCTION answer(text) RETURNS int LANGUAGE sql AS 'SELECT 42'",
        [
            "FUNCTION public answer(integer) of the backup is missing.",
            "FUNCTION public answer(text) is not in the backup.",
        ],
    ),
    "primary key missing": (
        "ALTER TABLE small DROP CONSTRAINT small_pkey",
        ["CONSTRAINT public small small_pkey of the backup is missing."],
    ),
    "large object changed": (
        "SELECT lo_put(4712, 150000, 'X')",
        ["Not all of the 2 large objects have the numbers and bytes of the backup."],
    ),
    "large object under another number": (
        "SELECT lo_unlink(4711), lo_from_bytea(4713, 'a large object')",
        ["Not all of the 2 large objects have the numbers and bytes of the backup."],
    ),
    "large object lost": ("SELECT lo_unlink(4711)", ["There are 1 large objects where the backup has 2."]),
    "several at once": (
        "DELETE FROM small; DROP INDEX big_v; SELECT setval('counter', 1)",
        [
            "INDEX public big_v of the backup is missing.",
            """The sequence '"public"."counter"' is at 1 (called) where the backup has 41 (called).""",
            "The table public.small has 0 rows where the backup has 10.",
        ],
    ),
}  # fmt: skip


class Restored(NamedTuple):
    lab: Lab
    manifest: Manifest
    database: str
    """A restored copy, to be used as a template: nobody connects to it."""


@pytest.fixture(scope="module")
def restored(postgres18: PostgresServer, s3: S3Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    s3.create_bucket("known-bad")
    store = ObjectStore(s3.client(client_config(2)), bucket="known-bad", prefix="")
    lab = Lab(s3, store, tmp_path_factory.mktemp("known-bad"))
    postgres18.create_database("known_good")
    with postgres18.connect("known_good") as session:
        session.execute(SCHEMA)
    manifest = lab.backup(source_of(postgres18.dsn("known_good"), chunk_bytes=64 << 10))
    assert len(next(table for table in manifest.tables if table.name == "big").parts) > 2
    target = ScratchDatabase(ScratchServer(server_of(postgres18.dsn())), scratch_name("known"), "test")
    lab.restore_into(target, manifest)
    lab.prove(target, manifest)
    yield Restored(lab, manifest, target.name)
    target.drop()
    postgres18.drop_database("known_good")


@pytest.fixture
def copy(restored: Restored, postgres18: PostgresServer) -> Iterator[str]:
    name = f"{restored.database}_copy"
    with postgres18.connect() as session:
        session.execute(f"CREATE DATABASE {name} TEMPLATE {restored.database}")
    yield name
    postgres18.drop_database(name)


@pytest.mark.parametrize("bad", KNOWN_BAD)
def test_a_known_bad_copy(bad: str, restored: Restored, copy: str, postgres18: PostgresServer) -> None:
    damage, problems = KNOWN_BAD[bad]
    with postgres18.connect(copy) as session:
        session.execute(damage)
    with pytest.raises(VerificationError) as caught:
        prove_copy(restored, server_of(postgres18.dsn(copy)))
    assert list(caught.value.problems) == problems
    assert problems[0] in caught.value.what
    assert restored.manifest.backup_id in caught.value.what


def test_a_good_copy(restored: Restored, copy: str, postgres18: PostgresServer) -> None:
    """Rows in any order may lie in another partition; a vacuum or an analysis changes nothing."""
    with postgres18.connect(copy) as session:
        session.execute("VACUUM ANALYZE")
    prove_copy(restored, server_of(postgres18.dsn(copy)))


def test_the_copy_of_another_source(restored: Restored, postgres18: PostgresServer, database: Database) -> None:
    other = database()
    with postgres18.connect(other) as session:
        session.execute("CREATE TABLE big (id int PRIMARY KEY, v text)")
    with pytest.raises(VerificationError) as caught:
        prove_copy(restored, server_of(postgres18.dsn(other)))
    assert "The table public.small is missing." in caught.value.problems
    assert "The table public.big has 0 rows where the backup has 20,000." in caught.value.problems


def test_many_differences_are_counted(restored: Restored, copy: str, postgres18: PostgresServer) -> None:
    with postgres18.connect(copy) as session:
        session.execute("DO $$ BEGIN FOR i IN 1..30 LOOP EXECUTE 'CREATE TABLE extra_' || i || ' ()'; END LOOP; END $$")
    with pytest.raises(VerificationError) as caught:
        prove_copy(restored, server_of(postgres18.dsn(copy)))
    assert len(caught.value.problems) == 60
    assert "And 40 more." in caught.value.what


def prove_copy(restored: Restored, server: Server) -> None:
    prove(server, restored.lab.reader(restored.manifest), Cancellation())
