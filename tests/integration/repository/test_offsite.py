"""Off-site copies, against a real S3 server."""

import os
from datetime import UTC, datetime

import pytest

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.repository import upload
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import objects_folder
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.offsite import copy_backup, share_verdicts
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from tests.integration.repository.conftest import MakeStore
from tests.support.backups import said
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


def test_verdicts_on_the_content_are_known_to_all_copies(
    store: ObjectStore, make_store: MakeStore, second_bucket: str, manifest: Manifest
) -> None:
    target = make_store(second_bucket)
    copy(store, target, manifest, same_endpoint=True)
    one, other = Catalog(store), Catalog(target)

    def note(kind: EvidenceKind, *catalogs: Catalog) -> None:
        for catalog in catalogs:
            catalog.add_evidence("shop", manifest.backup_id, said(kind), qualifier="restore")

    def share() -> int:
        return share_verdicts(one, other, "shop") + share_verdicts(other, one, "shop")

    def unequal() -> list[bool]:
        return [catalog.entry("shop", manifest.backup_id).unequal for catalog in (one, other)]

    note(EvidenceKind.UNEQUAL, one)
    assert (share(), unequal()) == (1, [True, True])
    note(EvidenceKind.RESTORED, other)
    assert (share(), unequal()) == (0, [True, False]), (
        "it has no VERIFIED: a proof elsewhere tells nothing of its bytes"
    )
    note(EvidenceKind.VERIFIED, one, other)
    assert (share(), unequal(), share()) == (1, [False, False], 0)
    for catalog in (one, other):  # each finds it out, and has it answered, while the other one is away
        note(EvidenceKind.UNEQUAL, catalog)
        note(EvidenceKind.RESTORED, catalog)
    share()
    assert unequal() == [False, False]
    note(EvidenceKind.UNEQUAL, other)
    share()
    assert unequal() == [True, True]
