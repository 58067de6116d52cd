"""What a restore may do, and what is done with its rights: nothing that users of the source wrote runs with more than
theirs, and what a role or a server lacks is found before anything is written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.model import Manifest, TableRecord
from backup_playbook.engines.postgres.preflight import user_objects
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.row_counts import count_rows
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.scratch import scratch_name
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import SOURCE, Lab, dump_text, host_of, server_of, source_of

TRAPS = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.caught() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught %', current_user; END $$;
CREATE FUNCTION evil.current_database() RETURNS name LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
CREATE FUNCTION evil.eq(name, text) RETURNS bool LANGUAGE sql AS 'SELECT evil.caught()';
CREATE FUNCTION evil.eq(name, name) RETURNS bool LANGUAGE sql AS 'SELECT evil.caught()';
CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT evil.caught()';
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.eq);
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.eq);
CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);
CREATE TABLE t AS SELECT i FROM generate_series(1, 9) i;
"""


def test_no_function_of_the_source_s_users_runs_as_whoever_looks(
    lab: Lab, postgres18: PostgresServer, database: Database, scratch: MakeScratch
) -> None:
    """The owner of a database may set its search_path: names and operators of ours would be looked up there."""
    origin, target = database(), scratch(owners=True)
    with postgres18.connect(origin) as session:
        session.execute(TRAPS)
        session.execute(f"ALTER DATABASE {origin} SET search_path = evil, pg_catalog, public")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    lab.restore_into(target, manifest)
    assert lab.prove(target, manifest).rows == 9
    assert count_rows(server_of(postgres18.dsn(target.name))) == {"public.t": 9}


ABOVE = """
CREATE TABLE t (id int PRIMARY KEY, who name); INSERT INTO t VALUES (1, 'nobody'), (2, 'somebody');
ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON t USING (who = current_user);
CREATE PUBLICATION everything FOR ALL TABLES; CREATE PUBLICATION one FOR TABLE t;
CREATE PUBLICATION schemas FOR TABLES IN SCHEMA public; COMMENT ON PUBLICATION schemas IS 'feeds';
CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no DDL here'; END $$;
CREATE TABLE granted (i int);
GRANT SELECT ON granted TO r_alice WITH GRANT OPTION; SET ROLE r_alice; GRANT SELECT ON granted TO r_bob; RESET ROLE;
CREATE TABLE owned (i int); ALTER TABLE owned OWNER TO r_alice; ALTER SCHEMA public OWNER TO r_bob;
CREATE EVENT TRIGGER no ON ddl_command_start EXECUTE FUNCTION no(); COMMENT ON EVENT TRIGGER no IS 'never';
"""


@pytest.fixture
def manifest(lab: Lab, postgres18: PostgresServer, database: Database) -> Iterator[Manifest]:
    """Of a database with all that only superusers may restore."""
    origin = database()
    with postgres18.connect() as session:
        session.execute("CREATE ROLE r_alice; CREATE ROLE r_bob; CREATE ROLE r_plain LOGIN CREATEDB PASSWORD 'plain'")
        session.execute(f"ALTER DATABASE {origin} OWNER TO r_plain")
    with postgres18.connect(origin) as session:
        session.execute(ABOVE)
    yield lab.backup(source_of(postgres18.dsn(origin)))
    postgres18.drop_database(origin)
    with postgres18.connect() as session:
        session.execute("DROP ROLE r_alice, r_bob, r_plain")


def plain(server: PostgresServer, **options: object) -> ScratchDatabase:
    host = host_of(server.dsn(user="r_plain", password="plain"))
    return ScratchDatabase(host, scratch_name(SOURCE), "test", RestoreOptions(**options))


def test_what_an_ordinary_role_may_not_restore_is_left_out_and_named(
    lab: Lab, postgres18: PostgresServer, manifest: Manifest
) -> None:
    target = plain(postgres18)
    try:
        lab.restore_into(target, manifest)
        proof = lab.prove(target, manifest)
        assert proof.rows == manifest.rows == 2
        for name in (
            "EVENT TRIGGER - no",
            "PUBLICATION - everything",
            "PUBLICATION TABLES IN SCHEMA public schemas public",
        ):
            assert f"{name} (only a superuser may create it)" in " ".join(proof.left_out)
        assert "FORCE ROW LEVEL SECURITY of TABLE public t" in " ".join(proof.left_out)
        text = "\n".join(dump_text(postgres18, target.name))
        assert "ALTER PUBLICATION one ADD TABLE" in text
        assert "ENABLE ROW LEVEL SECURITY" in text
    finally:
        target.drop()


def test_what_a_role_lacks_for_owners_and_grants_is_named_before_anything_is_written(
    lab: Lab, postgres18: PostgresServer, manifest: Manifest
) -> None:
    assert "may not act as r_alice" in plain(postgres18).lacks_for_owners(lab.reader(manifest))
    assert ScratchDatabase(host_of(postgres18.dsn()), "", "").lacks_for_owners(lab.reader(manifest)) == ""
    target = plain(postgres18, owners=True)
    try:
        with pytest.raises(RestoreError, match="cannot be given these definitions") as caught:
            lab.restore_into(target, manifest)
        for words in (
            "may not act as r_alice", "may not act as r_bob", "passed on by r_alice", "EVENT TRIGGER - no.",
            "hides rows of public.t",
        ):  # fmt: skip
            assert words in caught.value.what
        for words in ('GRANT "r_alice" TO "r_plain";', 'ALTER ROLE "r_plain" BYPASSRLS;', "`leave_out`"):
            assert words in caught.value.remedy
        with postgres18.connect(target.name) as session:
            assert user_objects(session) == 0
    finally:
        target.drop()


def test_more_tables_than_a_proof_can_lock(manifest: Manifest, scratch: MakeScratch) -> None:
    tables = tuple(TableRecord(namespace="public", name=f"t{number}", columns=(), parts=()) for number in range(20_000))
    with pytest.raises(RestoreError, match=r"locks all 20000 tables at once: max_locks_per_\w+ = \d+ is needed"):
        scratch().create(manifest.model_copy(update={"tables": tables}))


def test_many_large_objects_with_owners(lab: Lab, tmp_path: Path) -> None:
    """In one transaction, the server would hold a lock for each."""
    server = PostgresServer(tmp_path / "server", settings={"max_locks_per_transaction": "10", "max_connections": "10"})
    try:
        server.start()
        with server.connect() as session:
            session.execute("SELECT count(lo_from_bytea(0, 'x')) FROM generate_series(1, 4000)")
        manifest = lab.backup(source_of(server.dsn()))
        target = ScratchDatabase(host_of(server.dsn()), scratch_name(SOURCE), "test", RestoreOptions(owners=True))
        lab.restore_into(target, manifest)
        assert lab.prove(target, manifest).large_objects == 4_000
    finally:
        server.remove()
