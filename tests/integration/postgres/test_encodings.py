"""Databases of every encoding, with names, labels, settings, comments and roles that are not ASCII."""

from collections.abc import Iterator

import pytest

from backup_playbook.engines.postgres.row_counts import count_rows
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import MakeScratch
from tests.integration.postgres.lab import SMALL_CHUNKS, Lab, assert_restored, assert_same, dump_text, source_of

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
DROP_ROLE = b'REASSIGN OWNED BY "r@" TO CURRENT_USER; DROP OWNED BY "r@"; DROP ROLE "r@"'
WORDS = {
    "UTF8": "Größe 日本".encode(),
    "LATIN1": "Größe".encode("latin-1"),
    "WIN1252": "Größe €".encode("cp1252"),
    "EUC_JP": "日本".encode("euc-jp"),
    "EUC_JIS_2004": "日本".encode("euc_jis_2004"),
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
    text = dump_text(postgres18, "enc")
    assert_same(dump_text(postgres18, target.name), text)
    assert_same(dump_text(postgres18, "enc_copy"), text)
    assert sorted(count_rows(source.server).values()) == [1, 1, 2000]
    assert count_rows(target.server) == count_rows(source.server)
