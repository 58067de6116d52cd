"""Known-bad copies: every kind of difference is found, named, and told from the others."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from backup_playbook.core.errors import UnequalError
from backup_playbook.core.model import Manifest
from backup_playbook.core.proof import Proof
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from embedded.postgres import PostgresServer
from embedded.s3 import S3Gateway
from tests.integration.postgres.conftest import Database
from tests.integration.postgres.lab import Lab, host_of, source_of

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
    CREATE TABLE parents (id int PRIMARY KEY, alive bool DEFAULT true, name varchar(20), at int NOT NULL);
    CREATE TABLE children (id int, parent int CONSTRAINT of_parent REFERENCES parents ON DELETE CASCADE,
        grade varchar CHECK (grade IN ('a', 'b')));
    CREATE INDEX children_id ON children (id);
    ALTER TABLE children ENABLE ROW LEVEL SECURITY;
    CREATE POLICY mine ON children USING (id > 0);
    CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER touch BEFORE INSERT ON children FOR EACH ROW EXECUTE FUNCTION touched();
    CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM parents;
    CREATE DOMAIN age AS int CHECK (VALUE >= 0);
    GRANT SELECT ON parents TO PUBLIC;
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
        [
            "TABLE public blank is defined in other words than in the backup.",
            "The table public.blank has the columns number where the backup has id.",
        ],
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
    "foreign key switched off": (
        "ALTER TABLE parents DISABLE TRIGGER ALL",
        ["The constraint of_parent of public.children is not kept: its triggers on public.parents are switched off."],
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


# done to the definitions of one copy, all at once -> the kind and the name of what must be noticed
CHANGED = {
    "CREATE OR REPLACE FUNCTION answer(int) RETURNS int LANGUAGE sql AS 'SELECT 43'": "FUNCTION public answer(integer)",
    "CREATE OR REPLACE VIEW shown AS SELECT id + 1 - 1 AS id FROM small": "VIEW public shown",
    "ALTER TABLE small DROP CONSTRAINT positive, ADD CONSTRAINT positive CHECK (true)": "TABLE public small",
    "ALTER TABLE children DROP CONSTRAINT of_parent, ADD CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents":
        "FK CONSTRAINT public children of_parent",
    "ALTER TABLE parents ALTER name TYPE varchar(30)": "TABLE public parents",
    "ALTER TABLE big ALTER v SET NOT NULL": "TABLE public big",
    "ALTER TABLE blank ALTER id SET DEFAULT 5": "TABLE public blank",
    "DROP INDEX children_id; CREATE INDEX children_id ON children (parent)": "INDEX public children_id",
    "ALTER POLICY mine ON children USING (true)": "POLICY public children mine",
    "ALTER TABLE children DISABLE TRIGGER touch": "TRIGGER public children touch",
    "ALTER TYPE colour ADD VALUE 'blue'": "TYPE public colour",
    "ALTER SEQUENCE counter INCREMENT 2": "SEQUENCE public counter",
    "ALTER TABLE children SET UNLOGGED": "TABLE public children",
    "DROP MATERIALIZED VIEW counts; CREATE MATERIALIZED VIEW counts AS SELECT count(id) FROM parents":
        "MATERIALIZED VIEW public counts",
    "ALTER DOMAIN age DROP CONSTRAINT age_check; ALTER DOMAIN age ADD CONSTRAINT age_check CHECK (VALUE >= -1)":
        "DOMAIN public age",
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
    target = ScratchDatabase(host_of(postgres18.dsn()), scratch_name("known"), "test")
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
    with pytest.raises(UnequalError) as caught:
        prove_copy(restored, postgres18, copy)
    assert list(caught.value.problems) == problems
    assert problems[0] in caught.value.what
    assert restored.manifest.backup_id in caught.value.what


def test_a_good_copy(restored: Restored, copy: str, postgres18: PostgresServer) -> None:
    """Rows in any order may lie in another partition; a vacuum or an analysis changes nothing."""
    with postgres18.connect(copy) as session:
        session.execute("VACUUM ANALYZE")
    prove_copy(restored, postgres18, copy)


def test_definitions_of_the_same_names(restored: Restored, copy: str, postgres18: PostgresServer) -> None:
    with postgres18.connect(copy) as session:
        for change in CHANGED:
            session.execute(change.encode())
    with pytest.raises(UnequalError) as caught:
        prove_copy(restored, postgres18, copy)
    words = "is defined in other words than in the backup."
    assert sorted(caught.value.problems) == sorted(f"{name} {words}" for name in CHANGED.values())


def test_an_emptied_materialised_view(restored: Restored, copy: str, postgres18: PostgresServer) -> None:
    with postgres18.connect(copy) as session:
        session.execute("REFRESH MATERIALIZED VIEW counts WITH NO DATA")
    with pytest.raises(UnequalError) as caught:
        prove_copy(restored, postgres18, copy)
    assert caught.value.problems == ("MATERIALIZED VIEW DATA public counts of the backup is missing.",)


def test_grants_and_owners(restored: Restored, postgres18: PostgresServer) -> None:
    target = ScratchDatabase(host_of(postgres18.dsn()), scratch_name("owned"), "test", RestoreOptions(owners=True))
    try:
        restored.lab.restore_into(target, restored.manifest)
        restored.lab.prove(target, restored.manifest)
        with postgres18.connect(target.name) as session:
            session.execute("GRANT UPDATE ON parents TO PUBLIC")
            session.execute("ALTER TABLE big OWNER TO pg_monitor")
            session.execute(f'ALTER DATABASE "{target.name}" SET work_mem = 64')
        with pytest.raises(UnequalError) as caught:
            restored.lab.prove(target, restored.manifest)
        name = f'"{restored.manifest.details["database"]["datname"]}"'
        assert caught.value.problems == (
            "ACL public TABLE parents is defined in other words than in the backup.",
            "CONSTRAINT public big big_pkey has the owner pg_monitor where the backup has postgres.",
            "INDEX public big_v has the owner pg_monitor where the backup has postgres.",
            "TABLE public big has the owner pg_monitor where the backup has postgres.",
            f"The setting ALTER DATABASE {name} SET \"work_mem\" TO '64' is not in the backup.",
        )
        assert prove_copy(restored, postgres18, target.name).schema_objects
    finally:
        target.drop()


def test_the_copy_of_another_source(restored: Restored, postgres18: PostgresServer, database: Database) -> None:
    other = database()
    with postgres18.connect(other) as session:
        session.execute("CREATE TABLE big (id int PRIMARY KEY, v text)")
    with pytest.raises(UnequalError) as caught:
        prove_copy(restored, postgres18, other)
    assert "The table public.small is missing." in caught.value.problems
    assert "The table public.big has 0 rows where the backup has 20,000." in caught.value.problems


def test_many_differences_are_counted(restored: Restored, copy: str, postgres18: PostgresServer) -> None:
    with postgres18.connect(copy) as session:
        session.execute("DO $$ BEGIN FOR i IN 1..30 LOOP EXECUTE 'CREATE TABLE extra_' || i || ' ()'; END LOOP; END $$")
    with pytest.raises(UnequalError) as caught:
        prove_copy(restored, postgres18, copy)
    assert len(caught.value.problems) == 60
    assert "And 40 more." in caught.value.what


def prove_copy(restored: Restored, server: PostgresServer, name: str, **options: Any) -> Proof:
    copy = ScratchDatabase(host_of(server.dsn()), name, "test", RestoreOptions(**options))
    return restored.lab.prove(copy, restored.manifest)
