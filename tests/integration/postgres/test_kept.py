"""A proven copy gets a name of its own, and is no scratch any more."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.engines.postgres.kept import require_new
from backup_playbook.engines.postgres.scratch import ScratchDatabase, read_identity
from backup_playbook.engines.scratch import scratch_name
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import MakeScratch
from tests.integration.postgres.lab import Lab, source_of


@pytest.fixture
def copy(lab: Lab, postgres18: PostgresServer, small: str, scratch: MakeScratch) -> ScratchDatabase:
    target, manifest = scratch(), lab.backup(source_of(postgres18.dsn(small)))
    lab.restore_into(target, manifest)
    return target


@pytest.fixture
def name(postgres18: PostgresServer) -> Iterator[str]:
    name = f"kept_{scratch_name('shop')}"
    yield name
    postgres18.drop_database(name)


def test_copy_is_kept_while_a_check_has_not_closed_its_connection(
    copy: ScratchDatabase, name: str, postgres18: PostgresServer
) -> None:
    with postgres18.connect(copy.name):
        copy.keep(name)
    copy.drop()
    with postgres18.connect(name) as session:
        assert session.execute("SELECT count(*) FROM notes").fetchall() == [(2,)]


def test_name_that_is_taken_meanwhile(copy: ScratchDatabase, name: str, postgres18: PostgresServer) -> None:
    postgres18.create_database(name)
    with pytest.raises(RestoreError, match=f"There is a database {name} already"):
        copy.keep(name)
    with pytest.raises(RestoreError) as caught:
        require_new(copy.host.server, name)
    assert f'DROP DATABASE "{name}"' in caught.value.remedy
    assert copy.name in {found.name for found in copy.host.list_scratches()}


def test_production_is_not_renamed(copy: ScratchDatabase, name: str) -> None:
    found = read_identity(copy.server)
    host = replace(copy.host, production=lambda: [found])
    with pytest.raises(GuardError, match="is the production database"):
        host.scratch(copy.name).keep(name)


def test_what_is_no_scratch_is_not_renamed(copy: ScratchDatabase, small: str, name: str) -> None:
    with pytest.raises(GuardError, match="has no scratch"):
        copy.host.scratch(small).keep(name)
