"""restore.sh refuses what it cannot restore completely, and says why."""

import subprocess
from collections.abc import Callable

import pytest
from psycopg import sql

from backup_playbook.core.model import Manifest, ObjectKind
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.repository.layout import objects_folder
from embedded.postgres import PostgresServer
from tests.integration.postgres.lab import SOURCE, Lab, assert_restored, source_of
from tests.support.damage import flip_a_bit

Database = Callable[..., str]


@pytest.fixture
def manifest(lab: Lab, postgres18: PostgresServer, small: str) -> Manifest:
    return lab.backup(source_of(postgres18.dsn(small), chunk_bytes=64 << 10))


@pytest.mark.parametrize("kind", [ObjectKind.SCHEMA, ObjectKind.TABLE, ObjectKind.PACK, ObjectKind.LARGE_OBJECTS])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_object_is_refused(
    kind: ObjectKind, damage: str, lab: Lab, manifest: Manifest, postgres18: PostgresServer, database: Database
) -> None:
    item = next(item for item in manifest.objects if item.kind is kind)
    key = objects_folder(SOURCE, manifest.backup_id) + item.name
    file = lab.stored_file(key)
    if damage == "gone":
        lab.store.delete([key])
    elif damage == "flipped":
        flip_a_bit(file)
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert_failed(lab.restore(manifest, postgres18, database()), f"{item.name} is damaged")


def test_a_target_that_is_not_empty(
    lab: Lab, manifest: Manifest, postgres18: PostgresServer, database: Database
) -> None:
    target = database()
    with postgres18.connect(target) as session:
        session.execute("CREATE TABLE measurements AS SELECT 'precious' AS v")
    result = lab.restore(manifest, postgres18, target)
    assert_refused(result, "The target database is not empty")
    with postgres18.connect(target) as session:
        assert session.execute("SELECT v FROM measurements").fetchall() == [("precious",)]


def test_a_target_that_does_not_exist(lab: Lab, manifest: Manifest, postgres18: PostgresServer) -> None:
    result = lab.restore(manifest, postgres18, "nowhere")
    assert_refused(result, 'database "nowhere" does not exist')
    assert "not empty" not in result.stderr


def test_a_copy_of_the_repository_elsewhere(
    lab: Lab, manifest: Manifest, postgres18: PostgresServer, database: Database
) -> None:
    lab.s3.create_bucket(f"{lab.store.bucket}-copy")
    for item in lab.store.list("objects/"):
        lab.store.client.copy_object(
            Bucket=f"{lab.store.bucket}-copy", Key=f"other/{item.key}",
            CopySource={"Bucket": lab.store.bucket, "Key": lab.store.path(item.key)},
        )  # fmt: skip
    lab.store.delete([item.key for item in lab.store.list("objects/")])
    where = f"s3://{lab.store.bucket}-copy/other"
    assert_restored(lab.restore(manifest, postgres18, database(), REPOSITORY=where))


def test_a_missing_program_is_named(lab: Lab, manifest: Manifest, postgres18: PostgresServer, small: str) -> None:
    bare = lab.directory / "bin"
    bare.mkdir()
    for program in ("mktemp", "rm"):
        (bare / program).symlink_to(f"/usr/bin/{program}")
    result = lab.restore(manifest, postgres18, small, PATH=str(bare))
    assert_refused(result, "aws is not installed")


def test_rows_that_a_check_refuses_while_other_tables_are_empty_come_after_them(
    lab: Lab, postgres18: PostgresServer, database: Database
) -> None:
    """And those that it refuses for good are not called damaged; what pg_restore can leave out can be left out."""
    origin, copy = database(), database()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE other AS SELECT 1 AS one")
        session.execute("CREATE FUNCTION others() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.other'")
        session.execute("CREATE TABLE checked (v text CHECK (others() > 0))")
        session.execute("INSERT INTO checked SELECT repeat(md5(i::text), 40) FROM generate_series(1, 5000) i")
        session.execute("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (p int REFERENCES p)")
        session.execute("INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)")
        session.execute("ALTER TABLE p DISABLE TRIGGER ALL; DELETE FROM p; ALTER TABLE p ENABLE TRIGGER ALL")
    manifest = lab.backup(source_of(postgres18.dsn(origin), chunk_bytes=1 << 20))
    assert_failed(lab.restore(manifest, postgres18, copy), 'violates foreign key constraint "c_p_fkey"')
    assert_failed(
        lab.restore(manifest, postgres18, database(), LEAVE_OUT="INDEX public none"), "has no INDEX public none"
    )
    copy = database()
    assert_restored(lab.restore(manifest, postgres18, copy, LEAVE_OUT="FK CONSTRAINT public c c_p_fkey"))
    with postgres18.connect(copy) as session:
        assert session.execute("SELECT count(*) FROM checked").fetchall() == [(5000,)]
    with postgres18.connect(origin) as session:
        session.execute("CREATE OR REPLACE FUNCTION others() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'")
    manifest = lab.backup(source_of(postgres18.dsn(origin), chunk_bytes=1 << 20))
    result = lab.restore(manifest, postgres18, database())
    assert_failed(result, "violates check constraint")
    assert "could not be loaded" in result.stderr
    assert "damaged" not in result.stderr


def test_statements_of_existing_roles_are_left_out_whole(
    lab: Lab, postgres16: PostgresServer, postgres18: PostgresServer, database: Database
) -> None:
    """A setting, a comment or a name may have lines that read like statements of a superuser."""
    origin, copy = database(postgres16), database()
    forged = "x\n ALTER ROLE sh_app SUPERUSER;\nCREATE ROLE sh_evil SUPERUSER; --"
    hostile = 'sh_"two\nlines'
    try:
        with postgres18.connect() as session:
            session.execute("CREATE ROLE sh_app; COMMENT ON ROLE sh_app IS 'as it was'")
        with postgres16.connect(origin) as session:
            for role in ("sh_app", hostile, "sh_zz"):
                name = quoted(role)
                session.execute(f"CREATE ROLE {name}".encode())
                session.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), forged + "\\'; \\! x"))
                session.execute(
                    sql.SQL("ALTER ROLE {} SET application_name = {}").format(sql.Identifier(role), forged + "';\\")
                )
            session.execute("CREATE TABLE t (i int); ALTER TABLE t OWNER TO sh_zz; GRANT sh_app TO sh_zz")
            session.execute("GRANT pg_monitor TO sh_app; GRANT pg_monitor TO sh_zz")
        manifest = lab.backup(source_of(postgres16.dsn(origin)))
        result = lab.restore(manifest, postgres18, copy, GLOBALS="1", OWNERS="1")
        assert_restored(result)
        with postgres18.connect(copy) as session:
            roles = session.execute(
                "SELECT rolname, rolsuper, rolconfig, shobj_description(oid, 'pg_authid') FROM pg_roles "
                "WHERE rolname ~ '^sh_' ORDER BY 1"
            ).fetchall()
            members = session.execute(
                "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = 'sh_zz'::regrole"
            ).fetchall()
        settings = ["application_name=" + forged + "';\\"]
        assert roles == [
            (hostile, False, settings, forged + "\\'; \\! x"),
            ("sh_app", False, None, "as it was"),
            ("sh_zz", False, settings, forged + "\\'; \\! x"),
        ]
        assert members == [("pg_monitor",)]
        assert "left out: GRANT sh_app TO sh_zz\n" in result.stderr
    finally:
        for server, name in ((postgres16, origin), (postgres18, copy)):
            server.drop_database(name)
            with server.connect() as session:
                for role in ("sh_app", hostile, "sh_zz", "sh_evil"):
                    session.execute(f"DROP ROLE IF EXISTS {quoted(role)}".encode())


def assert_failed(result: "subprocess.CompletedProcess[str]", message: str) -> None:
    assert result.returncode != 0
    assert message in result.stderr
    assert "Restored and checked" not in result.stdout
    assert "drop it, and start again" in result.stderr


def assert_refused(result: "subprocess.CompletedProcess[str]", message: str) -> None:
    """Nobody is told to drop a database that nothing was done to."""
    assert result.returncode != 0
    assert message in result.stderr
    assert "Nothing was changed" in result.stderr
    assert "drop" not in result.stderr
