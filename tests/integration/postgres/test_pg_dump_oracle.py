"""The independent oracle: pg_dump says the same of the source and of what restore.sh made from its backup."""

from collections.abc import Callable

import pytest

from backup_playbook.core.model import Manifest, ObjectKind
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from embedded.postgres import PostgresServer
from include.sample import load
from tests.integration.postgres.conftest import GpgHome
from tests.integration.postgres.lab import (
    FIXTURES,
    SMALL_CHUNKS,
    Lab,
    assert_restored,
    assert_same,
    backup_role_dsn,
    dump_text,
    load_sql,
    source_of,
)

Database = Callable[..., str]


@pytest.fixture(params=["18", "16", "15"])
def server(request: pytest.FixtureRequest) -> PostgresServer:
    found: PostgresServer = request.getfixturevalue(f"postgres{request.param}")
    return found


def test_everything(
    server: PostgresServer, everything: Callable[[PostgresServer], str], lab: Lab, database: Database
) -> None:
    origin, copy = everything(server), database(server)

    manifest = lab.backup(source_of(server.dsn(origin), chunk_bytes=SMALL_CHUNKS))
    lab.verify(manifest)
    assert_restored(lab.restore(manifest, server, copy, OWNERS="1"))

    assert_same(dump_text(server, copy), dump_text(server, origin))
    assert {ObjectKind.PACK, ObjectKind.TABLE, ObjectKind.SEQUENCES, ObjectKind.LARGE_OBJECTS} <= kinds(manifest)
    assert any(len(table.parts) > 1 for table in manifest.tables)


def test_hostile_names(server: PostgresServer, lab: Lab, database: Database) -> None:
    origin, copy = database(server), database(server)
    load_sql(server, origin, FIXTURES / "hostile_names.sql", FIXTURES / "hostile_settings.sql")

    manifest = lab.backup(source_of(server.dsn(origin)))
    lab.verify(manifest)
    assert_restored(lab.restore(manifest, server, copy, OWNERS="1"))

    assert_same(dump_text(server, copy), dump_text(server, origin))
    assert not list(lab.directory.rglob("*hacked*"))
    with server.connect() as session:
        assert not session.execute("SELECT FROM pg_roles WHERE rolname = 'hacked'").fetchall()


def test_the_shop_with_the_documented_role(server: PostgresServer, lab: Lab, database: Database) -> None:
    """As the README sets it up; restored without its owners, by whoever restores."""
    origin, copy = database(server), database(server)
    load(server.dsn(origin), 0.003)

    manifest = lab.backup(source_of(backup_role_dsn(server, origin), chunk_bytes=256 << 10))
    lab.verify(manifest)
    assert_restored(lab.restore(manifest, server, copy))

    as_restored = ("--no-owner", "--no-privileges")
    assert_same(dump_text(server, copy, *as_restored), dump_text(server, origin, *as_restored))
    assert any(len(table.parts) > 1 for table in manifest.tables)


def test_partitions_by_the_hash_of_an_enum(server: PostgresServer, lab: Lab, database: Database) -> None:
    """Rows may belong to another partition in the copy: compared are the rows of the whole."""
    origin, copy = database(server), database(server)
    load_sql(server, origin, FIXTURES / "enum_hash_partitions.sql")

    manifest = lab.backup(source_of(server.dsn(origin), chunk_bytes=8 << 10))
    lab.verify(manifest)
    assert_restored(lab.restore(manifest, server, copy))

    rows = []
    for name in (origin, copy):
        with server.connect(name) as session:
            rows.append(session.execute("SELECT id, colour::text FROM paints ORDER BY id, colour::text").fetchall())
    assert len(rows[0]) == 700
    assert rows[0] == rows[1]
    assert {table.root for table in manifest.tables} == {("public", "paints")}


def test_a_newer_server_with_roles_and_the_aws_command_line(
    postgres16: PostgresServer, postgres18: PostgresServer, lab: Lab, database: Database
) -> None:
    """Disaster: another server that knows no role of the old one."""
    origin, copy = database(postgres16), database(postgres18)
    with postgres16.connect(origin) as session:
        session.execute("CREATE ROLE accounting NOLOGIN")
        session.execute("CREATE TABLE accounts (id int PRIMARY KEY, owner text)")
        session.execute("INSERT INTO accounts VALUES (1, 'somebody')")
        session.execute("ALTER TABLE accounts OWNER TO accounting")
        session.execute(f'ALTER ROLE accounting IN DATABASE {origin} SET search_path = accounting, "$user", public')
    try:
        manifest = lab.backup(source_of(postgres16.dsn(origin)))
        result = lab.restore(manifest, postgres18, copy, real_aws=True, OWNERS="1", GLOBALS="1")
        assert_restored(result)
        with postgres18.connect(copy) as session:
            assert session.execute("SELECT id, owner FROM accounts").fetchall() == [(1, "somebody")]
            assert session.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'accounts'").fetchall() == [
                ("accounting",)
            ]
            settings = session.execute(
                "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
                "WHERE d.datname = current_database()"
            ).fetchall()
            assert settings == [(['search_path=accounting, "$user", public'],)]
    finally:
        for server, name in ((postgres16, origin), (postgres18, copy)):
            server.drop_database(name)
            with server.connect() as session:
                session.execute("DROP ROLE IF EXISTS accounting")


@pytest.mark.parametrize("method", ["passphrase", "recipients"])
def test_encrypted(method: str, postgres18: PostgresServer, lab: Lab, database: Database, gpg_home: GpgHome) -> None:
    origin, copy = database(), database()
    load_sql(postgres18, origin, FIXTURES / "enum_hash_partitions.sql")
    secret = "pass 'word' $(touch hacked) ü"
    encryption, environment = {
        "passphrase": (Encryption(passphrase=secret), {"BACKUP_PASSPHRASE": secret}),
        "recipients": (gpg_home.encryption, {"GNUPGHOME": str(gpg_home.directory)}),
    }[method]

    with Keyring(encryption) as keyring:
        lab.codec = Codec(keyring=keyring)
        manifest = lab.backup(source_of(postgres18.dsn(origin)))
        lab.verify(manifest)
    assert {item.name.rsplit(".", 2)[1:] == ["zst", "gpg"] for item in manifest.objects} == {True}
    assert_restored(lab.restore(manifest, postgres18, copy, **environment))
    with postgres18.connect(copy) as session:
        assert session.execute("SELECT count(*) FROM paints").fetchall() == [(700,)]
    assert not list(lab.directory.rglob("*hacked*"))


def kinds(manifest: Manifest) -> set[ObjectKind]:
    return {item.kind for item in manifest.objects}
