"""What a restore may do, and what is done with its rights: nothing that users of the source wrote runs with more than
theirs, and what a role or a server lacks is found before anything is written."""

from backup_playbook.engines.postgres.row_counts import count_rows
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import Lab, server_of, source_of

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
