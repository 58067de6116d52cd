"""Copies that are right, and look otherwise: none of them is refused. And what a proof does not cover is said."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from backup_playbook.core.errors import UnequalError
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.excluded import recomputed_by
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import Lab, assert_restored, assert_same, backup_role_dsn, dump_text, source_of

ODD_ROLE = "the\nowner; Name: x"
HERITAGE = f"""
CREATE ROLE "{ODD_ROLE}";
ALTER SCHEMA public OWNER TO postgres;
CREATE TABLE parent (id int, name text);
CREATE TABLE child (extra text) INHERITS (parent);
CREATE TABLE grandchild (own int, twice int GENERATED ALWAYS AS (own * 2) STORED) INHERITS (child);
ALTER TABLE parent ADD COLUMN late int DEFAULT 7;
INSERT INTO child VALUES (1, 'a', 'b', 2); INSERT INTO grandchild (id, own) VALUES (3, 4);
CREATE VIEW children AS SELECT c.id, c.late FROM child c JOIN parent p USING (id);
CREATE TABLE graded (grade varchar(1) CHECK (grade IN ('a', 'b')), n numeric DEFAULT '-1', p name DEFAULT CURRENT_USER);
CREATE INDEX graded_grade ON graded (upper(grade)) WHERE grade IN ('a', 'c');
CREATE SCHEMA "sch
ema"; ALTER SCHEMA "sch
ema" OWNER TO "{ODD_ROLE}";
CREATE TABLE "sch
ema"."ta
ble" (i int); ALTER TABLE "sch
ema"."ta
ble" OWNER TO "{ODD_ROLE}";
CREATE FUNCTION said() RETURNS text LANGUAGE sql AS $$ SELECT '
--
-- TOC entry 3 (class 1259 OID 16385)
-- Name: graded; Type: TABLE; Schema: public; Owner: nobody
--
' $$;
CREATE TABLE ddl_log (tag text);
CREATE SCHEMA cron; CREATE SEQUENCE cron.own; SELECT setval('cron.own', 41);
CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM graded; INSERT INTO graded VALUES ('a');
CREATE MATERIALIZED VIEW m2 AS SELECT * FROM m; CREATE UNIQUE INDEX ON m2 (count);
CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
  BEGIN INSERT INTO public.ddl_log VALUES (tg_tag); END $$;
CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION log_ddl();
COMMENT ON EVENT TRIGGER log_ddl IS 'writes';
"""
LOGIN = """
CREATE TABLE logins (who text);
CREATE FUNCTION on_login() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
  BEGIN INSERT INTO public.logins VALUES (session_user); END $$;
CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION on_login();
ALTER EVENT TRIGGER on_login ENABLE ALWAYS;
"""


@pytest.fixture
def odd_role(postgres15: PostgresServer, postgres18: PostgresServer) -> Iterator[None]:
    yield
    for server in (postgres15, postgres18):
        with server.connect() as session:
            session.execute(f'DROP ROLE IF EXISTS "{ODD_ROLE}"')


@pytest.fixture
def heritage(
    odd_role: None, postgres15: PostgresServer, postgres18: PostgresServer, database: Database
) -> Iterator[dict[str, str]]:
    made = {"15": database(postgres15), "18": database(postgres18)}
    servers = {"15": postgres15, "18": postgres18}
    for version, name in made.items():
        with servers[version].connect(name) as session:
            session.execute(HERITAGE.encode())
            session.execute(LOGIN.encode() if version == "18" else b"SELECT 1")
    yield made
    for version, name in made.items():
        servers[version].drop_database(name)


def test_heritage_of_old_versions(
    heritage: dict[str, str], postgres15: PostgresServer, postgres18: PostgresServer, lab: Lab, scratch: MakeScratch
) -> None:
    """To the same server and to a newer one, with owners and without; event triggers write nothing into a copy."""
    servers = {"15": postgres15, "18": postgres18}
    manifests = {version: lab.backup(source_of(servers[version].dsn(name))) for version, name in heritage.items()}
    for version, target, owners in (("15", "15", True), ("15", "18", False), ("15", "18", True), ("18", "18", False)):
        manifest, copy = manifests[version], scratch(servers[target], owners=owners)
        lab.restore_into(copy, manifest)
        proof = lab.prove(copy, manifest)
        assert (proof.rows, proof.recomputed) == (manifest.rows, ("the rows of 2 materialised views",))
        with servers[target].connect(copy.name) as session:
            assert session.execute("SELECT nextval('cron.own')").fetchall() == [(42,)]
            session.execute("CREATE OR REPLACE VIEW children AS SELECT id, late FROM child")
        with pytest.raises(UnequalError) as caught:
            lab.prove(copy, manifest)
        assert "VIEW public children is defined in other words than in the backup." in caught.value.problems
        copy.drop()


def test_values_of_a_row_type_whose_columns_moved(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    """Their text is the same in the copy, and means something else there; also within other values."""
    origin, target = database(), scratch()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE parent (id int); CREATE TABLE child (a int) INHERITS (parent)")
        session.execute("ALTER TABLE parent ADD late int; CREATE TABLE holder (c child, more child[])")
        session.execute("INSERT INTO holder (c) VALUES ('(1,2,3)')")
        session.execute("CREATE TYPE wrap AS (n int, c child[]); CREATE TABLE wrapped AS SELECT (1, NULL)::wrap")
        session.execute("CREATE DOMAIN d AS child; CREATE TABLE of_domain AS SELECT '(1,2,3)'::d")
        session.execute("CREATE TYPE r AS RANGE (subtype = child, multirange_type_name = m)")
        session.execute("CREATE TABLE ranges AS SELECT '{}'::m; CREATE TABLE empty (c d)")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    lab.restore_into(target, manifest)
    with pytest.raises(UnequalError) as caught:
        lab.prove(target, manifest)
    moved = "The columns of public.child come in the order id, late, a, where the backup has id, a, late: rows of it"
    holders = "public.holder, public.of_domain, public.ranges, public.wrapped"
    assert caught.value.problems == (f"{moved} that are values in {holders} mean something else.",)


def test_a_login_trigger_that_the_documented_role_cannot_pass(
    heritage: dict[str, str], postgres18: PostgresServer, lab: Lab
) -> None:
    source = source_of(backup_role_dsn(postgres18, heritage["18"]))
    with postgres18.connect(heritage["18"]) as session:
        session.execute("ALTER ROLE backup SET default_transaction_read_only = on")
        refused = lab.refused(source)
        assert "cannot execute INSERT in a read-only transaction" in refused.what
        assert "GRANT SET ON PARAMETER event_triggers TO" in refused.remedy
        session.execute("GRANT SET ON PARAMETER event_triggers TO backup")
        try:
            assert lab.backup(source).rows
        finally:
            session.execute("REVOKE SET ON PARAMETER event_triggers FROM backup")


ANEW = """
CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
CREATE TABLE t (a int PRIMARY KEY, g int GENERATED ALWAYS AS (f(a)) STORED, fine text GENERATED ALWAYS AS ('x') STORED);
INSERT INTO t (a) SELECT generate_series(1, 20000);
CREATE TABLE parted (a int, g int GENERATED ALWAYS AS (f(a)) STORED) PARTITION BY HASH (a);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0); INSERT INTO parted (a) VALUES (1);
CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e');
CREATE TABLE moods (m mood, n int, g int GENERATED ALWAYS AS (f(3)) STORED, h int GENERATED ALWAYS AS (n + 1) STORED)
  PARTITION BY HASH (m);
CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE moods_1
  (h int GENERATED ALWAYS AS (n + 1) STORED, n int, g int GENERATED ALWAYS AS (f(3)) STORED, m mood);
ALTER TABLE moods ATTACH PARTITION moods_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods (m, n) SELECT unnest(enum_range(NULL::mood)), i FROM generate_series(1, 10) i;
CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM parted; INSERT INTO parted (a) VALUES (2);
"""


def test_what_a_copy_computes_anew(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    origin, good, bad = database(), scratch(), scratch()
    with postgres18.connect(origin) as session:
        session.execute(ANEW.encode())
        before = lab.backup(source_of(postgres18.dsn(origin), chunk_bytes=128 << 10))
        session.execute("CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 3'")
    manifest = lab.backup(source_of(postgres18.dsn(origin), chunk_bytes=128 << 10))
    assert {one.name for one in PostgresDetails.of(manifest).generated or ()} == {"t", "parted_0", "moods"}
    lab.restore_into(good, before)
    assert lab.prove(good, before).recomputed == ("the rows of 1 materialised view",)
    lab.restore_into(bad, manifest)
    with pytest.raises(UnequalError) as caught:
        lab.prove(bad, manifest)
    words = "has other values than the backup in what is generated"
    assert [problem.partition(f" {words}: ")[::2] for problem in caught.value.problems] == [
        ("The table public.moods", "g, h. The same rows: what computes them gives something else now."),
        ("The table public.parted_0", "g. The same rows: what computes them gives something else now."),
        ("The table public.t", "g, fine. The same rows: what computes them gives something else now."),
    ]
    lines = ("GENERATED public moods", "GENERATED public parted_0", "GENERATED public t")
    assert caught.value.remedy.endswith(", ".join(lines))
    assert "the backup is good" in caught.value.remedy
    asked = replace(bad, options=replace(bad.options, leave_out=lines))
    assert lab.prove(asked, manifest).recomputed[1:] == tuple(f"{line} (as asked)" for line in lines)
    details = {name: value for name, value in manifest.details.items() if name not in ("generated", "excluded")}
    old = replace(lab.reader(manifest), manifest=manifest.model_copy(update={"details": details}))
    assert bad.prove(old, lab.cancellation).recomputed == (
        "the rows of 1 materialised view",
        "the values of 7 stored generated columns (this backup is from before their values were noted)",
    )
    assert recomputed_by(old.manifest) == ("the rows of materialised views", "the values of stored generated columns")


NOTES = """
CREATE TABLE kept (i int); CREATE TABLE lost (i int); CREATE TABLE none (i int);
SELECT pg_catalog.pg_extension_config_dump('kept', '')
"""


def test_what_is_not_in_a_backup(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    origin, target = database(), scratch()
    make_extension(postgres18, "notes", NOTES)
    with postgres18.connect(origin) as session:
        session.execute(f"SET extension_control_path = '{postgres18.home / 'extensions'}:$system'")
        session.execute("CREATE EXTENSION notes")
        session.execute("INSERT INTO kept VALUES (1); INSERT INTO lost VALUES (1)")
        session.execute("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w")
        session.execute("CREATE USER MAPPING FOR PUBLIC SERVER s")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    assert manifest.details["excluded"] == {
        "subscriptions": 0, "user_mappings": 1, "materialised_views": 0, "extension_tables": ["public.lost"],
    }  # fmt: skip
    with postgres18.connect() as session:
        session.execute(f"ALTER SYSTEM SET extension_control_path = '{postgres18.home / 'extensions'}:$system'")
        session.execute("SELECT pg_reload_conf()")
    try:
        lab.restore_into(target, manifest)
        first, second = lab.prove(target, manifest).left_out
    finally:
        with postgres18.connect() as session:
            session.execute("ALTER SYSTEM RESET extension_control_path")
            session.execute("SELECT pg_reload_conf()")
    assert first == "1 user mapping of foreign servers"
    assert second.startswith("the rows of public.lost (tables of extensions,")


CRON = """
CREATE SCHEMA cron; CREATE SEQUENCE cron.jobid_seq;
CREATE TABLE cron.job (jobid bigint PRIMARY KEY DEFAULT nextval('cron.jobid_seq'), command text);
SELECT pg_extension_config_dump('cron.job', ''); SELECT pg_extension_config_dump('cron.jobid_seq', '')
"""
WITH_CRON = """
CREATE EXTENSION pg_cron; COMMENT ON EXTENSION pg_cron IS 'jobs';
INSERT INTO cron.job (command) VALUES ('SELECT 1');
GRANT USAGE ON SCHEMA cron TO pg_monitor; GRANT SELECT ON cron.job TO pg_monitor;
CREATE VIEW my_jobs AS SELECT jobid FROM cron.job; CREATE VIEW of_my_jobs AS SELECT jobid + 1 AS next FROM my_jobs;
CREATE FUNCTION jobs() RETURNS SETOF cron.job LANGUAGE sql AS 'SELECT * FROM cron.job';
CREATE TABLE runs (jobid bigint REFERENCES cron.job, at int); INSERT INTO runs VALUES (1, 2);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER noted AFTER INSERT ON cron.job FOR EACH ROW EXECUTE FUNCTION noted();
CREATE TABLE t AS SELECT E'COPY "cron".t' AS v
"""


def test_pg_cron_stays_behind_with_what_needs_it(
    postgres18: PostgresServer, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    """Copied jobs would run; and it can be created in one database of a server only. With owners, and by restore.sh."""
    origin, by_script, target = database(), database(), scratch(owners=True)
    make_extension(postgres18, "pg_cron", CRON)
    with postgres18.connect(origin) as session:
        session.execute(f"SET extension_control_path = '{postgres18.home / 'extensions'}:$system'")
        session.execute(WITH_CRON.encode())
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    assert {(table.namespace, table.rows) for table in manifest.tables} == {("cron", 1), ("public", 1)}
    lab.restore_into(target, manifest)
    proof = lab.prove(target, manifest)
    assert [(table.name, table.rows) for table in proof.tables] == [("runs", 1), ("t", 1)]
    assert "pg_cron and its jobs" in proof.left_out
    assert_restored(lab.restore(manifest, postgres18, by_script, OWNERS="1"))
    assert_same(dump_text(postgres18, by_script), dump_text(postgres18, target.name))


def make_extension(server: PostgresServer, name: str, script: str) -> None:
    directory = server.home / "extensions" / "extension"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.control").write_text("default_version = '1.0'\nrelocatable = false\n")
    (directory / f"{name}--1.0.sql").write_text(f"{script};\n")
