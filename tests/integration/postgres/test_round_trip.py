"""The independent oracle: pg_dump says the same of the source and of what restore.sh made from its backup."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backup_playbook.core.model import ObjectKind
from embedded.postgres import PostgresServer
from tests.integration.postgres.lab import SMALL_CHUNKS, Lab, assert_restored, dump_text, load_sql, source_of

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
Database = Callable[..., str]


@pytest.fixture(params=["18", "16", "15"])
def server(request: pytest.FixtureRequest) -> PostgresServer:
    found: PostgresServer = request.getfixturevalue(f"postgres{request.param}")
    return found


@pytest.mark.parametrize("fixture", ["everything.sql", "hostile_names.sql"])
def test_pg_dump_says_the_same(server: PostgresServer, fixture: str, lab: Lab, database: Database) -> None:
    origin, copy = database(server), database(server)
    load_sql(server, origin, FIXTURES / fixture, FIXTURES / "hostile_settings.sql")

    manifest = lab.backup(source_of(server.dsn(origin), chunk_bytes=SMALL_CHUNKS))
    lab.verify(manifest)
    assert_restored(lab.restore(manifest, server, copy, OWNERS="1"))

    assert dump_text(server, copy) == dump_text(server, origin)
    assert {ObjectKind.PACK, ObjectKind.TABLE} <= {item.kind for item in manifest.objects}
    assert not list(lab.directory.rglob("hacked"))
