from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.scratch import MongoScratch
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from embedded.s3 import S3Gateway
from tests.conftest import Bucket, MongoDatabase
from tests.integration.mongodb.lab import host_of
from tests.integration.postgres.lab import SOURCE, Lab
from tests.support.mongo_mask import ReplicaSet


@pytest.fixture
def lab(s3: S3Gateway, bucket: Bucket, tmp_path: Path) -> Lab:
    store = ObjectStore(s3.client(client_config(2)), bucket=bucket.name, prefix="lab")
    return Lab(s3, store, tmp_path, engine=MongoEngine())


@pytest.fixture
def origin(replica_set: ReplicaSet, mongo_database: MongoDatabase) -> Iterator[MongoDatabase]:
    """The test's own database, by way of the replica set."""
    with MongoClient(replica_set.uri) as client:
        yield client[mongo_database.name]


@pytest.fixture
def target(replica_set: ReplicaSet) -> Iterator[MongoScratch]:
    """A scratch on the replica set, not made yet."""
    made = MongoScratch(host_of(MongoServer(replica_set.uri, "admin")), scratch_name(SOURCE), "test")
    yield made
    made.drop()
