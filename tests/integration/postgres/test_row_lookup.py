"""Rows by key straight from the objects of a backup."""

import pytest

from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.engines.postgres.row_lookup import find_record, lookup_rows
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database
from tests.integration.postgres.lab import Lab, source_of


@pytest.mark.parametrize("chunk_bytes", [128 << 20, 64 << 10], ids=["packed", "chunked"])
def test_rows_are_read_without_a_server(
    lab: Lab, postgres18: PostgresServer, database: Database, chunk_bytes: int
) -> None:
    origin = database()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE t (a int, k text, n int, v text, PRIMARY KEY (k, n))")
        session.execute(
            "INSERT INTO t SELECT 0, E'k\\t\\\\' || i, i, CASE WHEN i % 2 = 0 THEN E'x\\ny\\\\N' END "
            "FROM generate_series(1, 9000) i"
        )
    manifest = lab.backup(source_of(postgres18.dsn(origin), chunk_bytes=chunk_bytes))
    record = find_record(manifest, "t")
    assert (len(record.parts) > 1) == (chunk_bytes < 1 << 20)
    keys = ['["k\\t\\\\8", 8]', '["k\\t\\\\9", 9]', '["k", 9]']
    assert lookup_rows(lab.reader(manifest), record, keys, lab.cancellation) == [
        {"a": "0", "k": "k\t\\8", "n": "8", "v": "x\ny\\N"},
        {"a": "0", "k": "k\t\\9", "n": "9", "v": None},
    ]


def test_only_chunks_that_can_hold_the_key_are_read(
    lab: Lab, postgres18: PostgresServer, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = lab.backup(source_of(postgres18.dsn(small), chunk_bytes=64 << 10))
    record = find_record(manifest, "public.measurements")
    reader, read = lab.reader(manifest), []
    content = type(reader).content
    monkeypatch.setattr(type(reader), "content", lambda self, item: read.append(item.name) or content(self, item))
    [row] = lookup_rows(reader, record, ["17"], lab.cancellation)
    assert (row["id"], read) == ("17", [record.parts[0].object])
    assert len(record.parts) > 2


def test_keys_that_look_like_numbers_and_padded_ones(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    """Chunks have their smallest and largest text, in whose order 1000 comes before 9."""
    origin = database()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE t (id text PRIMARY KEY); CREATE TABLE c (id char(9) PRIMARY KEY)")
        session.execute("INSERT INTO t SELECT i::text FROM generate_series(1, 9000) i; INSERT INTO c SELECT id FROM t")
    manifest = lab.backup(source_of(postgres18.dsn(origin), chunk_bytes=64 << 10))
    keys = ["1", "100", "1000", "8999", "9000"]
    for table in ("t", "c"):
        record = find_record(manifest, table)
        assert len(record.parts) > 1
        found = lookup_rows(lab.reader(manifest), record, keys, lab.cancellation)
        assert sorted(str(row["id"]).strip() for row in found) == keys


def test_tables_that_cannot_be_looked_into(lab: Lab, postgres18: PostgresServer, small: str) -> None:
    manifest = lab.backup(source_of(postgres18.dsn(small)))
    with pytest.raises(RowRecoveryError, match="has no table 'nothing'"):
        find_record(manifest, "nothing")
    with pytest.raises(RowRecoveryError, match="has no primary key"):
        lookup_rows(lab.reader(manifest), find_record(manifest, "notes"), ["1"], lab.cancellation)
