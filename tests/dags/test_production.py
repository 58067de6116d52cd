"""Which databases are production, by whatever address, and that restores keep away from them."""

import json
from pathlib import Path

import pytest
import yaml

from backup_playbook.config import load_config
from backup_playbook.core.errors import ConfigError, GuardError
from backup_playbook.dag_parts.restore_targets import production_databases, scratch_database
from backup_playbook.engines.postgres.row_counts import count_rows
from embedded.postgres import PostgresServer
from tests.dags.conftest import connect
from tests.integration.postgres.lab import source_of


def test_production_under_another_name_is_never_dropped(live: str, postgres18: PostgresServer) -> None:
    """Even when somebody gave it a scratch's name and mark."""
    disguise = f"scratch_shop_{live[-8:]}"
    mark = {"backup_playbook": "scratch", "source": "shop", "backup_id": "", "owner": "x", "created_at": "2026-01-01"}
    with postgres18.connect() as connection:
        connection.execute(f"ALTER DATABASE {live} RENAME TO {disguise}")
        connection.execute(f"COMMENT ON DATABASE {disguise} IS '{json.dumps(mark)}'")
    try:
        scratch = scratch_database(load_config(), "shop", disguise)
        # the source's connection leads to no database any more: its newest backup tells which one it was
        with pytest.raises(GuardError, match="is the production database shop"):
            scratch.drop()
    finally:
        with postgres18.connect() as connection:
            connection.execute(f"ALTER DATABASE {disguise} RENAME TO {live}")


def test_identity_is_the_same_from_the_server_and_from_the_backup(
    live: str, postgres18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [reached] = production_databases(load_config())
    assert reached.name == live
    connect(monkeypatch, "postgres_shop", postgres18, "localhost", "no_such_database")
    [remembered] = production_databases(load_config())
    assert remembered.is_same(reached)


def test_source_without_a_restore_test_has_no_target(live: str, tmp_path: Path) -> None:
    file = tmp_path / "config/sources.yaml"
    sources = yaml.safe_load(file.read_text())
    del sources["sources"]["shop"]["restore_test"]
    file.write_text(yaml.safe_dump(sources))
    with pytest.raises(ConfigError, match="has no restore test"):
        scratch_database(load_config(), "shop", "scratch_shop_00000000")


def test_rows_of_production_are_counted(live: str, postgres18: PostgresServer) -> None:
    with postgres18.connect(live) as connection:
        connection.execute('CREATE TABLE "odd . name" (id int)')
    assert count_rows(source_of(postgres18.dsn(live)).server) == {"public.notes": 7, "public.odd . name": 0}
