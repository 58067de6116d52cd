import hashlib
from collections.abc import Callable

import psycopg
import pytest

from embedded.postgres import PostgresServer
from include.sample import SampleError, load, load_huge
from include.sample.__main__ import main


def digests(dsn: str) -> dict[str, str]:
    """SHA-256 of each table's COPY text, and of the large objects."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET timezone = 'UTC'")
        tables = connection.execute("""
            SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        """).fetchall()
        found = {}
        for (table,) in tables:
            with connection.cursor().copy(f"COPY (SELECT * FROM ONLY {table}) TO STDOUT") as rows:
                found[table] = hashlib.sha256(b"".join(bytes(row) for row in rows)).hexdigest()
        images = connection.execute(
            "SELECT oid, sha256(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid"
        ).fetchall()
        return found | {"large objects": repr(images)}


def test_loads_the_same_bytes_for_a_seed(database: Callable[..., str], postgres18: PostgresServer) -> None:
    first, second, other = (postgres18.dsn(database()) for _ in range(3))
    rows = load(first, scale=0.001)
    load(second, scale=0.001)
    load(other, scale=0.001, seed=2)
    assert digests(first) == digests(second)
    assert digests(first) != digests(other)
    assert rows["users"] == 200
    assert rows["audit_log"] == 2200
    assert all(rows.values())


@pytest.mark.parametrize("version", ["postgres15", "postgres16"])
def test_loads_the_same_bytes_on_every_version(
    version: str, request: pytest.FixtureRequest, database: Callable[..., str], postgres18: PostgresServer
) -> None:
    server: PostgresServer = request.getfixturevalue(version)
    old, new = server.dsn(database(server)), postgres18.dsn(database())
    load(old, scale=0.001)
    load(new, scale=0.001)
    assert digests(old) == digests(new)


def test_the_smallest_scale_still_fills_every_table(database: Callable[..., str], postgres18: PostgresServer) -> None:
    assert all(load(postgres18.dsn(database()), scale=1e-9).values())


def test_the_huge_table_grows_with_the_scale(database: Callable[..., str], postgres18: PostgresServer) -> None:
    assert load_huge(postgres18.dsn(database()), scale=0.001) == {"audit_log": 3700}


def test_refuses_a_database_that_is_not_empty(shop: str) -> None:
    before = digests(shop)
    with pytest.raises(SampleError, match=r"already has 19 tables .* Load the sample into an empty database"):
        load(shop)
    assert digests(shop) == before


@pytest.mark.parametrize("scale", [0, -1, float("nan"), 1e9])
def test_refuses_a_senseless_scale(scale: float) -> None:
    with pytest.raises(SampleError, match=r"choose a number above 0"):
        load("host=127.0.0.1 port=1", scale=scale)


def test_command_line_loads_and_checks(
    database: Callable[..., str], postgres18: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    dsn = postgres18.dsn(database())
    assert main(["load", "--dsn", dsn, "--scale", "0.001"]) == 0
    assert "2,200  audit_log" in capsys.readouterr().out
    assert main(["check", "--dsn", dsn]) == 0
    assert "FAILED" not in capsys.readouterr().out
    assert main(["load", "--dsn", dsn]) == 1
    assert "already has" in capsys.readouterr().err


def test_command_line_explains_an_unreachable_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--dsn", "host=127.0.0.1 port=1 dbname=shop"]) == 1
    assert "Check --dsn" in capsys.readouterr().err
