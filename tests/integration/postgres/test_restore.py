"""What the engine restores is what was there, by the word of pg_dump, and `prove` says so."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_playbook.core.model import Manifest
from backup_playbook.core.proof import Proof
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer, scratch_name
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from include.sample import load
from tests.integration.postgres.conftest import GpgHome
from tests.integration.postgres.lab import (
    SMALL_CHUNKS,
    SOURCE,
    Lab,
    backup_role_dsn,
    dump_text,
    load_sql,
    server_of,
    source_of,
)
from tests.integration.postgres.test_pg_dump_oracle import assert_same

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
Database = Callable[..., str]
MakeScratch = Callable[..., ScratchDatabase]
WITHOUT_OWNERS = ("--no-owner", "--no-privileges")


@pytest.fixture
def scratch(postgres18: PostgresServer) -> Iterator[MakeScratch]:
    made: list[ScratchDatabase] = []

    def make(server: PostgresServer = postgres18, **options: object) -> ScratchDatabase:
        host = ScratchServer(server_of(server.dsn()))
        made.append(ScratchDatabase(host, scratch_name(SOURCE), "test", RestoreOptions(**options)))
        return made[-1]

    yield make
    for item in made:
        item.drop()


def restore(lab: Lab, manifest: Manifest, target: ScratchDatabase) -> Proof:
    target.create(manifest)
    reader = lab.reader(manifest)
    seconds = target.restore(reader, Cancellation())
    assert list(seconds) == ["pre_data", "data", "post_data"]
    return target.prove(reader, Cancellation())


@pytest.mark.parametrize("owners", [True, False])
@pytest.mark.parametrize("version", ["18", "16"])
def test_everything(
    version: str, owners: bool, request: pytest.FixtureRequest, lab: Lab, database: Database, scratch: MakeScratch
) -> None:
    server: PostgresServer = request.getfixturevalue(f"postgres{version}")
    origin = database(server)
    load_sql(server, origin, FIXTURES / "everything.sql")
    target = scratch(server, owners=owners)
    manifest = lab.backup(source_of(server.dsn(origin), chunk_bytes=SMALL_CHUNKS))
    proof = restore(lab, manifest, target)
    options = () if owners else WITHOUT_OWNERS
    assert_same(dump_text(server, target.name, *options), dump_text(server, origin, *options))
    assert proof.rows == manifest.rows
