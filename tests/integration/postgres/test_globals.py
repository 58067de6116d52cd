"""Roles of the server: their passwords are stored when that was decided, and restore.sh needs no psql of today."""

import pytest

from backup_playbook.core.model import Manifest, ObjectKind
from backup_playbook.engines.postgres.server_globals import RolePasswords, wants_passwords
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database
from tests.integration.postgres.lab import Lab, assert_restored, backup_role_dsn, source_of

OLDER_PSQL = r"""#!/bin/sh
for word; do
    case $word in */script.sql)
        if grep -q '^\\restrict' "$word"; then echo 'invalid command \restrict' >&2; exit 3; fi ;;
    esac
done
exec "%s" "$@"
"""


def globals_of(lab: Lab, manifest: Manifest) -> bytes:
    reader = lab.reader(manifest)
    return b"".join(block for item in reader.objects(ObjectKind.GLOBALS) for block in reader.content(item))


@pytest.mark.parametrize(
    ("choice", "encrypted", "stored"),
    [
        ("encrypted", True, True),
        ("encrypted", False, False),
        ("always", False, True),
        ("never", True, False),
    ],
)
def test_when_hashes_are_stored(choice: RolePasswords, encrypted: bool, stored: bool) -> None:
    assert wants_passwords(choice, encrypted=encrypted) is stored


def test_hashes_of_passwords(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    """The documented role may read them, and stores none in clear unasked; if refused, all else is stored."""
    name = database()
    dsn = backup_role_dsn(postgres18, name)
    with postgres18.connect(name) as session:
        session.execute("CREATE ROLE granted LOGIN PASSWORD 'secret'")
    try:
        for options, reader, stored in (
            ({}, dsn, False),
            ({"role_passwords": "always"}, dsn, True),
            ({"role_passwords": "always"}, postgres18.dsn(name, user="granted", password="secret"), False),
        ):
            manifest = lab.backup(source_of(reader, **options))
            assert manifest.details["role_passwords"] is stored
            content = globals_of(lab, manifest)
            assert b"CREATE ROLE granted" in content
            assert (b"SCRAM-SHA-256$" in content) is stored
            assert ("with their passwords" in lab.restore_script(manifest)) is stored
    finally:
        with postgres18.connect(name) as session:
            session.execute("DROP ROLE granted")


def test_restore_sh_with_a_psql_that_knows_no_restrict(
    lab: Lab, postgres18: PostgresServer, database: Database
) -> None:
    """Newer clients write lines that older ones, also of the same version, take for an error."""
    origin, copy = database(), database()
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    assert b"\\restrict " in globals_of(lab, manifest)
    older = lab.directory / "older"
    older.mkdir()
    (older / "psql").write_text(OLDER_PSQL % (postgres18.bin_dir / "psql"))
    (older / "psql").chmod(0o755)
    path = f"{older}:{lab.directory / 'tools'}:{postgres18.bin_dir}:/usr/bin:/bin"
    assert_restored(lab.restore(manifest, postgres18, copy, GLOBALS="1", PATH=path))
