"""Databases of every encoding, with names, labels, settings, comments and roles that are not ASCII."""

import re
from collections.abc import Iterator

import pytest

from backup_playbook.core.errors import RestoreError, SourceError
from backup_playbook.engines.postgres.recovery_preflight import inspect_live
from backup_playbook.engines.postgres.row_counts import count_rows
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import MakeScratch
from tests.integration.postgres.lab import (
    SMALL_CHUNKS,
    Lab,
    assert_restored,
    assert_same,
    dump_text,
    server_of,
    source_of,
)

# `@` is the word: in names of every kind, in values, keys, labels, a comment, a setting, and an owner
DEFINITIONS = rb"""
CREATE ROLE "r@" LOGIN;
COMMENT ON DATABASE enc IS 'for @';
ALTER DATABASE enc SET app.word = 'w@\ x';
ALTER ROLE "r@" IN DATABASE enc SET app.word = 'r@';
CREATE SCHEMA "s@";
CREATE TYPE "s@"."m@" AS ENUM ('l@', 'other');
CREATE TABLE "s@"."t@" (id text PRIMARY KEY, "c@" "s@"."m@", n int);
INSERT INTO "s@"."t@" SELECT 'k@' || i, 'l@', i FROM generate_series(1, 2000) i;
CREATE TABLE "odd@', 1, true);" (i int GENERATED ALWAYS AS IDENTITY);
INSERT INTO "odd@', 1, true);" DEFAULT VALUES;
CREATE SEQUENCE "s@"."q@\"; SELECT setval('"s@"."q@\"', 42);
CREATE SEQUENCE "x@', 1, true);
SELECT pg_catalog.setval('y";
CREATE TABLE p (k text) PARTITION BY LIST (k); CREATE TABLE "p@" PARTITION OF p FOR VALUES IN ('k@');
INSERT INTO p VALUES ('k@');
ALTER TABLE p OWNER TO "r@"; ALTER DATABASE enc OWNER TO "r@";
"""
RAW = "--encoding=SQL_ASCII"
DROP_ROLE = b'REASSIGN OWNED BY "r@" TO CURRENT_USER; DROP OWNED BY "r@"; DROP ROLE "r@"'
WORDS = {
    "UTF8": "Größe 日本".encode(),
    "LATIN1": "Größe".encode("latin-1"),
    "WIN1252": "Größe €".encode("cp1252"),
    "EUC_JP": "日本".encode("euc-jp"),
    "EUC_TW": b"\xc4\xa1\xc4\xa2",
    "SQL_ASCII": "Größe".encode(),
    "SQL_ASCII with bytes of its own": "Größe".encode("latin-1"),
}


@pytest.fixture
def word(request: pytest.FixtureRequest, postgres18: PostgresServer) -> Iterator[bytes]:
    """Makes the database `enc`, and an empty `enc_copy`, in the encoding of the test's parameter."""
    encoding, found = request.param.split()[0], WORDS[request.param]
    for name in ("enc", "enc_copy"):
        with postgres18.connect() as session:
            session.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    run(postgres18, "enc", DEFINITIONS.replace(b"@", found))
    yield found
    postgres18.drop_database("enc_copy")
    run(
        postgres18,
        "enc",
        b'REASSIGN OWNED BY "r@" TO CURRENT_USER; DROP OWNED BY "r@"; DROP ROLE "r@"'.replace(b"@", found),
    )
    postgres18.drop_database("enc")


def run(server: PostgresServer, database: str, statements: bytes) -> None:
    """As bytes, whatever encoding they are in."""
    with server.connect(database) as session:
        for statement in (b"SET client_encoding = SQL_ASCII", statements):
            result = session.pgconn.exec_(statement)
            assert not result.error_message, result.error_message


@pytest.mark.parametrize("word", WORDS, indirect=True)
def test_backup_restore_proof_and_counts(
    word: bytes, postgres18: PostgresServer, lab: Lab, scratch: MakeScratch
) -> None:
    source = source_of(postgres18.dsn("enc"), chunk_bytes=SMALL_CHUNKS)
    manifest = lab.backup(source)
    lab.verify(manifest)
    target = scratch(owners=True)
    lab.restore_into(target, manifest)
    assert lab.prove(target, manifest).rows == manifest.rows == 2002
    assert_restored(lab.restore(manifest, postgres18, "enc_copy", OWNERS="1"))
    text = dump_text(postgres18, "enc", RAW)
    assert_same(dump_text(postgres18, target.name, RAW), text)
    assert_same(dump_text(postgres18, "enc_copy", RAW), text)
    assert sorted(count_rows(source.server).values()) == [1, 1, 2000]
    assert count_rows(target.server) == count_rows(source.server)


@pytest.mark.parametrize("word", ["LATIN1"], indirect=True)
def test_what_an_exchange_from_another_encoding_cannot_hand_over(word: bytes, postgres18: PostgresServer) -> None:
    assert word == WORDS["LATIN1"]
    with pytest.raises(RestoreError, match="of another encoding than the database postgres") as caught:
        inspect_live(server_of(postgres18.dsn()), "enc", 0)
    assert "in ASCII" in caught.value.remedy


def test_a_role_of_another_encoding_on_the_same_server(
    postgres18: PostgresServer, lab: Lab, small: str, scratch: MakeScratch
) -> None:
    """Its name is no UTF-8: pg_dumpall cannot read it, and a proof does not stop at it."""
    manifest, target = lab.backup(source_of(postgres18.dsn(small))), scratch(owners=True)
    with postgres18.connect() as session:
        session.execute("CREATE DATABASE enc TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    run(postgres18, "enc", b'CREATE ROLE "r\xf6"')
    try:
        lab.restore_into(target, manifest)
        lab.prove(target, manifest)
        with pytest.raises(SourceError, match="Rename it there"):
            lab.backup(source_of(postgres18.dsn(small)))
    finally:
        run(postgres18, "enc", b'DROP ROLE "r\xf6"')
        postgres18.drop_database("enc")


def test_what_is_refused_by_name(postgres18: PostgresServer, lab: Lab) -> None:
    """What Python cannot read, nor the server convert; and a name with bytes that stand for nothing."""
    for encoding, message in (
        ("MULE_INTERNAL", "is in the encoding MULE_INTERNAL, which cannot be read as UTF8"),
        ("WIN1252", r"no characters of its encoding: b'odd\\x81'"),
    ):
        with postgres18.connect() as session:
            session.execute(f"CREATE DATABASE refused TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        try:
            if encoding == "WIN1252":
                run(postgres18, "refused", b'CREATE TABLE "odd\x81" (i int)')
            assert re.search(message, lab.refused(source_of(postgres18.dsn("refused"))).what)
        finally:
            postgres18.drop_database("refused")


@pytest.mark.parametrize("word", ["WIN1252"], indirect=True)
def test_keys_that_python_cannot_read(word: bytes, postgres18: PostgresServer, lab: Lab) -> None:
    assert word == WORDS["WIN1252"]
    run(postgres18, "enc", b"CREATE TABLE keys (k text PRIMARY KEY)")
    run(postgres18, "enc", b"INSERT INTO keys SELECT i || '\x81' FROM generate_series(1, 9000) i")
    manifest = lab.backup(source_of(postgres18.dsn("enc"), chunk_bytes=SMALL_CHUNKS))
    [keys] = [table for table in manifest.tables if table.name == "keys"]
    assert len(keys.parts) > 1
    assert {part.key_min for part in keys.parts} == {None}
