"""S3 fails at every request of a MongoDB backup, of its verification, its restore and its proof, once at each."""

import os

import pytest
from botocore.config import Config

from backup_playbook.core.errors import RepositoryError
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.repository import upload
from backup_playbook.repository.layout import CATALOG, OBJECTS
from tests.conftest import Bucket, MongoDatabase
from tests.integration.mongodb.lab import scratch_of, source_of
from tests.integration.postgres.lab import SOURCE, Lab
from tests.integration.repository.conftest import MakeStore
from tests.support.s3_proxy import S3Proxy, fails_once_at_each_request

MIB = 1 << 20


@pytest.fixture
def lab(bucket: Bucket, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(upload, "FIRST_PART_BYTES", 5 * MIB)
    store = make_store(bucket.name, config=Config(retries={"total_max_attempts": 1, "mode": "standard"}))
    return Lab(None, store, None, engine=MongoEngine())  # type: ignore[arg-type]


@pytest.fixture
def origin(mongo_database: MongoDatabase) -> MongoDatabase:
    """Random bytes: its collection travels in several parts."""
    mongo_database["large"].insert_many([{"_id": number, "v": os.urandom(MIB)} for number in range(12)])
    mongo_database["small"].insert_one({"_id": 1})
    mongo_database["small"].create_index("v")
    return mongo_database


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_backup(lab: Lab, origin: MongoDatabase, proxy: S3Proxy) -> None:
    source = source_of(origin)
    sealed, parts = set(), 0
    for failed in fails_once_at_each_request(proxy, lambda: lab.backup(source), RepositoryError):
        assert not list(lab.store.unfinished_uploads(""))
        parts += "partNumber" in failed.query
        now = {entry.backup_id for entry in lab.catalog.backups(SOURCE)}
        # what fails while it is sealed may have been sealed; anything else leaves nothing
        if CATALOG not in failed.path:
            left = {item.key.split("/")[2] for item in lab.store.list(OBJECTS)}
            assert (now, left - now) == (sealed, set())
        sealed = now
    assert parts >= 3
    for manifest in (lab.catalog.manifest(SOURCE, backup_id) for backup_id in sealed):
        lab.verify(manifest)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_what_follows_a_backup(lab: Lab, origin: MongoDatabase, proxy: S3Proxy) -> None:
    manifest = lab.backup(source_of(origin))
    for _ in fails_once_at_each_request(proxy, lambda: lab.verify(manifest), RepositoryError):
        [entry] = lab.catalog.backups(SOURCE)
        # a store that does not answer says nothing against the backup
        assert not entry.rejected
    target = scratch_of(origin)
    try:
        for _ in fails_once_at_each_request(proxy, lambda: lab.restore_into(target, manifest), RepositoryError):
            target.drop()
        for _ in fails_once_at_each_request(proxy, lambda: lab.prove(target, manifest), RepositoryError):
            pass
        lab.prove(target, manifest)
    finally:
        target.drop()
