"""DAG files, parsed as the dag processor does it. Nothing here needs Airflow's database."""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient

from backup_playbook.core.model import Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import SUPERUSER, PostgresServer, client_bin_dirs
from embedded.s3 import S3Gateway
from tests.conftest import Bucket, MongoDatabase
from tests.integration.files.lab import make_lab
from tests.integration.postgres.lab import source_of
from tests.support.mongo_mask import ReplicaSet

# Airflow reads these when it is first imported, and writes its configuration where AIRFLOW_HOME points to.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from airflow.dag_processing.dagbag import DagBag  # noqa: E402 - after its settings

from backup_playbook.config import PlaybookConfig, load_config  # noqa: E402
from backup_playbook.config.load import DEFAULT_FOLDER  # noqa: E402
from backup_playbook.connections.s3 import catalog  # noqa: E402
from embedded.sample import REVIEWS, TARGET  # noqa: E402

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dagbag() -> DagBag:
    return DagBag(PROJECT / "dags")


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
    connect(monkeypatch, "postgres_shop_admin", postgres18, "127.0.0.1", name)
    connect(monkeypatch, "postgres_staging", postgres18, "127.0.0.1", "postgres")
    back_up(postgres18.dsn(name), datetime.now(UTC) - timedelta(hours=1))
    return name


@pytest.fixture
def uploads(s3: S3Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the source `uploads`, whose repositories keep versions."""
    config = shutil.copytree(DEFAULT_FOLDER, tmp_path / "config")
    repositories = yaml.safe_load((config / "repositories.yaml").read_text())
    for name in ("primary", "offsite"):
        repositories["repositories"][name]["bucket"] = make_lab(s3, tmp_path / "uploads").store.bucket
    (config / "repositories.yaml").write_text(yaml.safe_dump(repositories))
    sources = yaml.safe_load((config / "sources.yaml").read_text())
    sources["sources"]["uploads"] = {
        "engine": "files", "directory": str(tmp_path / "uploads"), "repository": "primary", "offsite": ["offsite"],
        "retention": "standard", "objectives": "standard",
    }  # fmt: skip
    (config / "sources.yaml").write_text(yaml.safe_dump(sources))
    targets = yaml.safe_load((config / "targets.yaml").read_text())
    (tmp_path / "restores").mkdir()
    targets["targets"]["restores"] = {"engine": "files", "directory": str(tmp_path / "restores")}
    other = {"connection": "s3_primary", "bucket": make_lab(s3, tmp_path / "uploads").store.bucket}
    targets["targets"]["other_bucket"] = {"engine": "files", "bucket": other}
    (config / "targets.yaml").write_text(yaml.safe_dump(targets))
    monkeypatch.setenv("BACKUP_PLAYBOOK_CONFIG", str(config))
    extra = {"endpoint_url": s3.endpoint_url, "region_name": s3.region}
    store = {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra}
    for name in ("S3_PRIMARY", "S3_OFFSITE"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(store))
    return tmp_path / "uploads"


def back_up(dsn: str, at: datetime) -> Manifest:
    """A backup of the source `shop`, which nobody has verified. at: what its id says."""
    store = catalog(load_config(), "primary").store
    writer = BackupWriter(store, "shop", new_backup_id(at), Codec())
    return take_backup(source_of(dsn), PostgresEngine(), writer, Cancellation())


def connect(monkeypatch: pytest.MonkeyPatch, connection: str, server: PostgresServer, host: str, database: str) -> None:
    words = {"conn_type": "postgres", "host": host, "port": server.port, "schema": database}
    login = {"login": SUPERUSER, "password": server.password}
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection.upper()}", json.dumps(words | login))


def mongo_connection(monkeypatch: pytest.MonkeyPatch, name: str, address: str, **more: Any) -> None:
    host, _, port = address.partition(":")
    connection = {"conn_type": "mongo", "host": host, "port": int(port), **more}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


@pytest.fixture
def mongo_config(
    replica_set: ReplicaSet, mongo_database: MongoDatabase, s3: S3Gateway, bucket: Bucket, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> PlaybookConfig:  # fmt: skip
    """The source `reviews` alone, in a database of the test's own."""
    folder = shutil.copytree(DEFAULT_FOLDER, tmp_path / "config")
    for file, section, entries in (
        ("sources.yaml", "sources", {"reviews": REVIEWS}),
        ("targets.yaml", "targets", {"mongo_staging": TARGET}),
        ("repositories.yaml", "repositories", {"primary": {"connection": "s3_primary", "bucket": bucket.name}}),
    ):
        (folder / file).write_text(yaml.safe_dump({section: entries}))
    monkeypatch.setenv("BACKUP_PLAYBOOK_CONFIG", str(folder))
    extra = {"endpoint_url": s3.endpoint_url, "region_name": s3.region}
    store = {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_S3_PRIMARY", json.dumps(store))
    mongo_connection(monkeypatch, "mongo_reviews", replica_set.address, schema=mongo_database.name)
    mongo_connection(monkeypatch, "mongo_staging", replica_set.address)
    with MongoClient[dict[str, Any]](replica_set.uri) as client:
        client[mongo_database.name]["reviews"].insert_many([{"_id": 1}, {"_id": 2}])
    return load_config()
