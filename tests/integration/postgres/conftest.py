import os
from pathlib import Path

import pytest

from backup_playbook.repository.store import ObjectStore
from embedded.postgres import client_bin_dirs
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.integration.postgres.lab import Lab


@pytest.fixture(autouse=True)
def clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client programs of every version that this machine has."""
    monkeypatch.setenv("BACKUP_PLAYBOOK_PG_CLIENTS", os.pathsep.join(map(str, client_bin_dirs())))


@pytest.fixture
def lab(s3: S3Gateway, bucket: Bucket, tmp_path: Path) -> Lab:
    return Lab(s3, ObjectStore(bucket.client, bucket=bucket.name, prefix="a/prefix"), tmp_path)
