"""Which databases are production, by whatever address, and that restores keep away from them."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from backup_playbook.config import load_config
from backup_playbook.config.load import DEFAULT_FOLDER
from backup_playbook.core.errors import ConfigError, GuardError
from backup_playbook.core.naming import new_backup_id
from backup_playbook.dag_parts.restore_targets import production_databases, scratch_database
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.row_counts import count_rows
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import SUPERUSER, PostgresServer, client_bin_dirs
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.integration.postgres.lab import source_of


@pytest.fixture
def live(
    postgres18: PostgresServer,
    s3: S3Gateway,
    bucket: Bucket,
    database: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The database of source `shop`, backed up once; source and target are the same server under two host names."""
    name = database()
    with postgres18.connect(name) as connection:
        connection.execute("CREATE TABLE notes AS SELECT generate_series(1, 7) AS id")
    config = shutil.copytree(DEFAULT_FOLDER, tmp_path / "config")
    repositories = yaml.safe_load((config / "repositories.yaml").read_text())
    repositories["repositories"]["primary"]["bucket"] = bucket.name
    (config / "repositories.yaml").write_text(yaml.safe_dump(repositories))
    extra = {"endpoint_url": s3.endpoint_url, "region_name": s3.region}
    monkeypatch.setenv("BACKUP_PLAYBOOK_CONFIG", str(config))
    monkeypatch.setenv("BACKUP_PLAYBOOK_PG_CLIENTS", ":".join(map(str, client_bin_dirs())))
    store = {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_S3_PRIMARY", json.dumps(store))
    connect(monkeypatch, "postgres_shop", postgres18, "localhost", name)
    connect(monkeypatch, "postgres_staging", postgres18, "127.0.0.1", "postgres")
    writer = BackupWriter(ObjectStore(s3.client(), bucket=bucket.name, prefix="playbook"), "shop", backup_id(), Codec())
    take_backup(source_of(postgres18.dsn(name)), PostgresEngine(), writer, Cancellation())
    return name


def backup_id() -> str:
    return new_backup_id(datetime.now(UTC))


def connect(monkeypatch: pytest.MonkeyPatch, connection: str, server: PostgresServer, host: str, database: str) -> None:
    words = {"conn_type": "postgres", "host": host, "port": server.port, "schema": database}
    login = {"login": SUPERUSER, "password": server.password}
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection.upper()}", json.dumps(words | login))


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
