"""Rows whose keys an extension compares; and what an import leaves behind where it ran."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.incident import TWO, Incident, difference
from tests.integration.postgres.lab import Lab, server_of

Open = Callable[..., Incident]

CASELESS = """
CREATE EXTENSION citext;
CREATE TABLE person (email citext PRIMARY KEY, nick citext UNIQUE, v text);
CREATE TABLE login (id int PRIMARY KEY, email citext REFERENCES person ON DELETE CASCADE);
INSERT INTO person SELECT 'Alice' || i || '@x', 'Ali' || i, repeat('a', 100) FROM generate_series(1, 2000) i;
INSERT INTO login SELECT i, 'alice' || i || '@x' FROM generate_series(1, 2000) i;
INSERT INTO login SELECT 2000 + i, 'ALICE' || i || '@X' FROM generate_series(1, 2000) i;
"""


@pytest.fixture
def caseless(
    lab: Lab, postgres15: PostgresServer, database: Database, scratch: MakeScratch, tmp_path: Path
) -> Incident:
    name = database(postgres15)
    with postgres15.connect(name) as session:
        session.execute(CASELESS.encode())
    return Incident(lab, postgres15, name, scratch, tmp_path)


def test_keys_that_an_extension_compares(caseless: Incident) -> None:
    """Rows that refer to a key in other letters went along, and come back."""
    caseless.do("DELETE FROM person WHERE email = 'alice17@x'")
    gone = caseless.dump()
    assert len(gone) == len(caseless.before) - 3

    caseless.find("person", "ALICE17@x")
    caseless.bring_back()

    assert difference(caseless.dump(), caseless.before) == set()
    caseless.undo()
    assert difference(caseless.dump(), gone) == set()


@pytest.mark.parametrize(
    ("row", "kind"), [("'ALICE17@X', 'new', 'b'", "key reused"), ("'new', 'ALI17', 'b'", "unique value taken")]
)
def test_conflicts_by_what_an_extension_compares(caseless: Incident, row: str, kind: str) -> None:
    caseless.do(f"DELETE FROM person WHERE email = 'alice17@x'; INSERT INTO person VALUES ({row})")
    caseless.find("person", "Alice17@x", children=False)
    assert [conflict.kind for conflict in caseless.preview().conflicts] == [kind]


def test_nothing_stays_set_behind_a_pooler(incident: Open, pgbouncer: Callable[[str], str]) -> None:
    """The application's next transaction may get the session that rows were imported in."""
    lost = incident(TWO)
    direct = lost.live
    lost.do("DELETE FROM p WHERE id = 3")
    lost.live = server_of(pgbouncer(lost.name))
    with lost.live.connect() as session:
        before = session.execute("SELECT name, setting FROM pg_settings ORDER BY 1").fetchall()
    lost.find("p", "3")
    lost.bring_back()
    with lost.live.connect() as session:
        after = session.execute("SELECT name, setting FROM pg_settings ORDER BY 1").fetchall()
    assert set(after) - set(before) == set()
    lost.live = direct
    assert difference(lost.dump(), lost.before) == set()
