from pathlib import Path

import pytest

from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.integration.postgres.lab import Lab


@pytest.fixture
def lab(s3: S3Gateway, bucket: Bucket, tmp_path: Path) -> Lab:
    store = ObjectStore(s3.client(client_config(2)), bucket=bucket.name, prefix="lab")
    return Lab(s3, store, tmp_path, engine=MongoEngine())
