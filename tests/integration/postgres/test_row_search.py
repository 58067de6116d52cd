"""As little as will do is read from the bucket."""

from collections import Counter
from collections.abc import Callable

import pytest

from backup_playbook.engines.postgres.row_search import READS
from tests.integration.postgres.incident import CHAIN, Incident
from tests.integration.postgres.lab import Lab

Open = Callable[..., Incident]


@pytest.fixture
def read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of what was read from the bucket, in order."""
    keys: list[str] = []
    original = type(lab.store).read
    monkeypatch.setattr(type(lab.store), "read", lambda self, key: keys.append(key) or original(self, key))
    return keys


def test_circle_of_foreign_keys_is_read_a_few_times(incident: Open, read: list[str]) -> None:
    lost = incident(CHAIN)
    lost.find("link", "1500")
    chunks = Counter(key for key in read if key.endswith(".copy.zst"))
    assert len(chunks) == len(lost.manifest.tables[0].parts) > 1
    assert max(chunks.values()) <= 1 + READS


@pytest.mark.parametrize(
    ("type_", "value", "key"),
    [
        ("bigint", "i", "17"),
        ("uuid", "lpad(i::text, 32, '0')::uuid", "00000000000000000000000000000017"),
        ("text", "lpad(i::text, 5, 'Ä')", "ÄÄÄ17"),
    ],
)
def test_only_chunks_that_can_hold_the_key_are_read(
    incident: Open, read: list[str], type_: str, value: str, key: str
) -> None:
    lost = incident(
        f"CREATE TABLE t (id {type_} PRIMARY KEY, v text);"
        f"INSERT INTO t SELECT {value}, repeat('x', 99) FROM generate_series(1, 9000) i"
    )
    lost.do("DELETE FROM t WHERE ctid = '(0,17)'")
    read.clear()
    lost.find("t", key)
    [chunk] = [name for name in read if name.endswith(".copy.zst")]
    assert chunk.endswith("-0001.copy.zst")
    assert len(lost.manifest.tables[0].parts) > 3
    assert lost.bring_back().inserted == {"public.t": 1}


def test_rows_that_no_longer_meet_a_check_are_found(incident: Open) -> None:
    """Whether production takes them back is for the preview."""
    lost = incident("""
        CREATE FUNCTION lim() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 9';
        CREATE DOMAIN few AS int CHECK (VALUE < lim());
        CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v < lim()), f few); INSERT INTO t VALUES (1, 8, 8);
        CREATE OR REPLACE FUNCTION lim() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 0';
    """)
    lost.do("DELETE FROM t; CREATE OR REPLACE FUNCTION lim() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 9'")
    lost.find("t", "1")
    assert lost.bring_back().inserted == {"public.t": 1}
