"""The databases in tests/fixtures load on every server version that is at hand: the tests that use them rely on it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from embedded.postgres import PostgresServer, client_bin_dirs

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def run_psql(dsn: str, script: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(client_bin_dirs()[0] / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", str(script)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", ["postgres15", "postgres16", "postgres18"])
@pytest.mark.parametrize("script", sorted(FIXTURES.glob("*.sql")), ids=lambda path: path.stem)
def test_loads(version: str, script: Path, request: pytest.FixtureRequest, database: Callable[..., str]) -> None:
    server: PostgresServer = request.getfixturevalue(version)
    name = database(server)
    result = run_psql(server.dsn(name), script)
    if script.stem == "everything":
        drop_subscription(server.dsn(name))
    assert (result.returncode, result.stderr) == (0, "")


def drop_subscription(dsn: str) -> None:
    """A database with a subscription cannot be dropped, not even by force."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SUBSCRIPTION IF EXISTS everything_subscription")
