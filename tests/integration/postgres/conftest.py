import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.encryption import Encryption
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


@dataclass(frozen=True)
class GpgHome:
    """A person's own gpg home with a key pair, and what the configuration of a source holds of it."""

    directory: Path
    encryption: Encryption
    """Can decrypt."""
    public_only: Encryption


@pytest.fixture(scope="session")
def gpg_home() -> Iterator[GpgHome]:
    # not below pytest's directory: the agent's socket path has a length limit
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    recipient = "backup@example.com"
    try:
        _gpg(home, "--passphrase", "", "--quick-generate-key", recipient, "future-default", "default", "never")
        public, private = _gpg(home, "--export", recipient), _gpg(home, "--export-secret-keys", recipient)
        yield GpgHome(
            home,
            Encryption(recipients=(recipient,), public_keys=public, private_key=private),
            Encryption(recipients=(recipient,), public_keys=public),
        )
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def _gpg(home: Path, *words: str) -> bytes:
    return subprocess.run(["gpg", "--homedir", home, "--batch", *words], check=True, capture_output=True).stdout
