"""S3 fails while files are backed up: now and then, or for good at any request, as when the worker is killed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.config import Config

from backup_playbook.core.errors import PlaybookError, RepositoryError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation
from tests.conftest import Bucket
from tests.integration.files.lab import SOURCE, FilesLab, state
from tests.integration.repository.conftest import MakeStore
from tests.support.s3_proxy import Fault, S3Proxy, every, fails_once_at_each_request, from_on

Labs = Callable[..., FilesLab]


@pytest.fixture
def labs(bucket: Bucket, make_store: MakeStore, tmp_path: Path) -> Labs:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    (tmp_path / "root").mkdir()

    def make(config: Config | None = None) -> FilesLab:
        store: ObjectStore = make_store(bucket.name, config=config)
        return FilesLab(None, store, tmp_path / "root")  # type: ignore[arg-type]

    return make


def first_night(lab: FilesLab) -> Manifest:
    for number in range(12):
        lab.write(f"{number:02}", b"%d" % number)
    lab.write("large", bytes(range(256)) * (9 << 12))
    lab.write(b"caf\xe9", b"not UTF-8")
    return lab.backup()


def second_night(lab: FilesLab) -> None:
    """What is done: a change, a rename, a deletion, a new file."""
    lab.write("01", b"changed")
    (lab.root / "02").rename(lab.root / "renamed")
    (lab.root / "03").unlink()
    lab.write("new", b"new")


@pytest.mark.faults
@pytest.mark.parametrize("fault", [Fault(503, "SlowDown"), Fault(), Fault(processed=True)], ids=["503", "cut", "lost"])
@pytest.mark.parametrize("offset", [0, 1])
def test_a_store_that_stumbles_at_every_other_request(labs: Labs, proxy: S3Proxy, fault: Fault, offset: int) -> None:
    lab = labs()
    first_night(lab)
    second_night(lab)
    proxy.reset(every(2, offset, fault))
    manifest = lab.backup()
    lab.verify(manifest)
    proxy.reset()
    assert lab.current()["renamed"] == b"2"
    assert "03" not in lab.current()


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_backup_that_ends_anywhere_loses_nothing(labs: Labs, proxy: S3Proxy) -> None:
    lab = labs(Config(retries={"total_max_attempts": 1, "mode": "standard"}))
    first = first_night(lab)
    second_night(lab)
    number = 1
    while True:
        proxy.reset(from_on(number, Fault(503, "SlowDown")))
        try:
            lab.backup()
        except PlaybookError:
            pass
        else:
            break
        proxy.reset()
        assert len(lab.catalog.backups()) == 1
        lab.verify(first)
        number += 3
    assert number > 10
    proxy.reset()
    manifest = lab.backup()
    lab.verify(manifest)
    assert lab.current() == {path.name: path.read_bytes() for path in lab.root.iterdir() if path.name.isprintable()}


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_what_follows_a_backup(labs: Labs, proxy: S3Proxy, tmp_path: Path) -> None:
    lab = labs(Config(retries={"total_max_attempts": 1, "mode": "standard"}))
    manifest = first_night(lab)
    for _ in fails_once_at_each_request(proxy, lambda: lab.verify(manifest), RepositoryError):
        [entry] = lab.catalog.backups()
        # a store that does not answer says nothing against the backup
        assert not entry.rejected
    target = ScratchDirectory(tmp_path, scratch_name(SOURCE), [lab.root])

    def restore() -> None:
        target.create(manifest)
        target.restore(lab.reader(manifest), Cancellation())

    for _ in fails_once_at_each_request(proxy, restore, RepositoryError):
        target.drop()
    for _ in fails_once_at_each_request(
        proxy, lambda: target.prove(lab.reader(manifest), Cancellation()), RepositoryError
    ):
        pass
    assert state(target.root) == state(lab.root)
