"""Off-site copies, against a real S3 server."""

import os
from datetime import UTC, datetime

import pytest

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.repository import upload
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import objects_folder
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.offsite import copy_backup
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from tests.integration.repository.conftest import MakeStore
from tests.support.bytes_engine import BytesEngine

MIB = 1 << 20
ENGINE = BytesEngine({"small": b"rows\n" * 100, "large": os.urandom(6 * MIB)})


@pytest.fixture
def manifest(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setattr(upload, "FIRST_PART_BYTES", 5 * MIB)
    writer = BackupWriter(store, "shop", new_backup_id(datetime.now(UTC)), Codec())
    return take_backup(ENGINE, ENGINE, writer, Cancellation())


def copy(store: ObjectStore, target: ObjectStore, manifest: Manifest, *, same_endpoint: bool) -> bool:
    return copy_backup(
        Catalog(store), Catalog(target), manifest, "#!/bin/sh\n",
        same_endpoint=same_endpoint, streams=2, cancellation=Cancellation(),
    )  # fmt: skip


@pytest.mark.parametrize("same_endpoint", [True, False])
def test_copy_has_the_same_bytes_and_the_same_checksums(
    store: ObjectStore, make_store: MakeStore, second_bucket: str, manifest: Manifest, same_endpoint: bool
) -> None:
    target = make_store(second_bucket)
    assert copy(store, target, manifest, same_endpoint=same_endpoint)
    for depth in (Depth.FULL, Depth.CHECKSUMS):
        verification = Verification(Catalog(target), ENGINE, Codec(), depth)
        verification.run("shop", manifest.backup_id, Cancellation(), manifest.seal)
    assert not copy(store, target, manifest, same_endpoint=same_endpoint)


def test_object_that_changed_since_its_verification_is_not_copied(
    store: ObjectStore, make_store: MakeStore, second_bucket: str, manifest: Manifest
) -> None:
    store.put(objects_folder("shop", manifest.backup_id) + manifest.objects[0].name, b"changed")
    target = make_store(second_bucket)
    with pytest.raises(VerificationError, match="changed since it was verified"):
        copy(store, target, manifest, same_endpoint=False)
    assert not Catalog(target).backups("shop")
