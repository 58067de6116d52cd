"""What a target lacks is named before anything is written to it."""

import pytest

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.postgres.preflight import user_objects
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import SOURCE, Lab, host_of, source_of


@pytest.fixture
def manifest(lab: Lab, postgres18: PostgresServer, small: str) -> Manifest:
    return lab.backup(source_of(postgres18.dsn(small), chunk_bytes=64 << 10))


def test_all_that_is_missing_is_named_before_anything_is_written(
    lab: Lab, postgres16: PostgresServer, manifest: Manifest, scratch: MakeScratch
) -> None:
    extensions = [
        {"name": "no_such_thing", "version": "1.0", "schema": "public"},
        {"name": "vector", "version": "99.1", "schema": "public"},
        {"name": "plperlu_or_so", "version": "1", "schema": "public"},
    ]
    roles = {"policies": ["auditor_of_policies"], "owners": ["an_owner"]}
    details = {**manifest.details, "extensions": extensions, "roles": roles}
    target = scratch(postgres16)
    with pytest.raises(RestoreError) as caught:
        target.create(manifest.model_copy(update={"details": details}))
    for sentence in (
        "It is Postgres 16, older than the backup's 18.",
        "The extension no_such_thing 1.0 is not installed there.",
        "older than the backup's 99.1.",
        "The extension plperlu_or_so 1 is not installed there.",
        "The role auditor_of_policies does not exist there (policies name it).",
    ):
        assert sentence in caught.value.what
    assert "an_owner" not in caught.value.what
    assert "Nothing was written" in caught.value.remedy
    assert target.host.list_scratches() == []


def test_roles_of_owners_and_policies_are_recorded_and_required(
    lab: Lab, postgres16: PostgresServer, postgres18: PostgresServer, database: Database, scratch: MakeScratch
) -> None:
    origin = database(postgres16)
    with postgres16.connect(origin) as session:
        for role in ("a_policy", "an_owner", "a_grantee", "a_user"):
            session.execute(f"CREATE ROLE {role}")
        session.execute("CREATE TABLE t (id int)")
        session.execute("ALTER TABLE t OWNER TO an_owner")
        session.execute("GRANT SELECT ON t TO a_grantee")
        session.execute("CREATE POLICY p ON t TO a_policy USING (true)")
        session.execute(f"ALTER ROLE a_user IN DATABASE {origin} SET work_mem = '8MB'")
    try:
        manifest = lab.backup(source_of(postgres16.dsn(origin)))
        for owners, expected in ((False, ["a_policy"]), (True, ["a_grantee", "a_policy", "a_user", "an_owner"])):
            with pytest.raises(RestoreError) as caught:
                scratch(owners=owners).create(manifest)
            named = [role for role in ("a_grantee", "a_policy", "a_user", "an_owner") if role in caught.value.what]
            assert named == expected
    finally:
        postgres16.drop_database(origin)
        with postgres16.connect() as session:
            session.execute("DROP ROLE a_policy, an_owner, a_grantee, a_user")


def test_a_setting_that_the_role_may_not_set(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    """Settings are applied last, and tried before the first row is loaded."""
    origin = database()
    with postgres18.connect(origin) as session:
        session.execute("CREATE ROLE restorer LOGIN CREATEDB PASSWORD 'restorer'")
        session.execute(f"ALTER DATABASE {origin} OWNER TO restorer")
        session.execute("ALTER SCHEMA public OWNER TO restorer")
        session.execute(f"ALTER DATABASE {origin} SET log_min_duration_statement = 100")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    host = host_of(postgres18.dsn(user="restorer", password="restorer"))
    target = ScratchDatabase(host, scratch_name(SOURCE), "test", RestoreOptions(owners=True))
    try:
        with pytest.raises(RestoreError, match=r"settings of .* could not be applied: permission denied") as caught:
            lab.restore_into(target, manifest)
        assert "log_min_duration_statement" in caught.value.what
        with postgres18.connect(target.name) as session:
            assert user_objects(session) == 0
    finally:
        target.drop()
        postgres18.drop_database(origin)
        with postgres18.connect() as session:
            session.execute("DROP ROLE restorer")


def test_a_role_that_may_not_create_databases(manifest: Manifest, postgres18: PostgresServer) -> None:
    with postgres18.connect() as session:
        session.execute("CREATE ROLE modest LOGIN PASSWORD 'modest'")
    try:
        host = host_of(postgres18.dsn(user="modest", password="modest"))
        with pytest.raises(RestoreError) as caught:
            ScratchDatabase(host, scratch_name(SOURCE), "test").create(manifest)
        assert "The role modest may not create databases" in caught.value.what
        assert caught.value.remedy == 'As a superuser: ALTER ROLE "modest" CREATEDB;'
    finally:
        with postgres18.connect() as session:
            session.execute("DROP ROLE modest")


def test_an_ordinary_role_restores_and_proves(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    """May create databases, and no more. What it restores is its own."""
    origin = database()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 9) i")
        session.execute("SELECT lo_from_bytea(0, 'a large object')")
        session.execute("DROP ROLE IF EXISTS restorer")
        session.execute("CREATE ROLE restorer LOGIN CREATEDB PASSWORD 'restorer'")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    host = host_of(postgres18.dsn(user="restorer", password="restorer"))
    target = ScratchDatabase(host, scratch_name(SOURCE), "test")
    try:
        lab.restore_into(target, manifest)
        assert lab.prove(target, manifest).rows == 9
    finally:
        target.drop()
        with postgres18.connect() as session:
            session.execute("DROP ROLE restorer")


def test_a_target_that_is_not_empty(
    lab: Lab, manifest: Manifest, postgres18: PostgresServer, scratch: MakeScratch
) -> None:
    target = scratch()
    target.create(manifest)
    with postgres18.connect(target.name) as session:
        session.execute("CREATE TABLE measurements AS SELECT 'precious' AS v")
    with pytest.raises(RestoreError, match="is not empty"):
        target.restore(lab.reader(manifest), Cancellation())
    with postgres18.connect(target.name) as session:
        assert session.execute("SELECT v FROM measurements").fetchall() == [("precious",)]
