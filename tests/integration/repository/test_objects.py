"""What was stored is read back against its manifest: every kind of damage is found, and says where it is."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_playbook.core.errors import PlaybookError, RepositoryError, VerificationError
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import manifest_key, objects_folder
from backup_playbook.repository.objects import BackupWriter, check_store_checksum, check_stored, read_content
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.blocks import drain
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation
from embedded.s3 import S3Gateway
from tests.support.bytes_engine import BytesEngine

ENGINE = BytesEngine({"one": os.urandom(20_000), "two": os.urandom(20_000)})
Damage = Callable[[Path], None]


@pytest.fixture
def manifest(store: ObjectStore) -> Manifest:
    return take_backup(
        ENGINE, ENGINE, BackupWriter(store, "shop", new_backup_id(datetime.now(UTC)), Codec()), Cancellation()
    )


@pytest.fixture
def folder(s3: S3Gateway, store: ObjectStore, manifest: Manifest) -> Path:
    """The objects as the gateway keeps them. Who writes here goes past S3 and its checksums, as a failing disk does."""
    return s3.buckets / store.bucket / "playbook" / objects_folder("shop", manifest.backup_id)


def truncate(folder: Path) -> None:
    os.truncate(folder / "one.zst", 10_000)


def empty(folder: Path) -> None:
    os.truncate(folder / "one.zst", 0)


def lengthen(folder: Path) -> None:
    with (folder / "one.zst").open("ab") as file:
        file.write(b"\0")


def flip_bit(folder: Path) -> None:
    data = bytearray((folder / "one.zst").read_bytes())
    data[12_345] ^= 1
    (folder / "one.zst").write_bytes(data)


def swap(folder: Path) -> None:
    one, two = ((folder / name).read_bytes() for name in ("one.zst", "two.zst"))
    (folder / "one.zst").write_bytes(two)
    (folder / "two.zst").write_bytes(one)


@pytest.mark.parametrize("damage", [truncate, empty, lengthen, flip_bit, swap])
def test_damage_is_found_by_every_full_read(
    store: ObjectStore, manifest: Manifest, folder: Path, damage: Damage
) -> None:
    damage(folder)
    with pytest.raises(VerificationError, match=r"one\.zst is not what was backed up: it has .* stored bytes"):
        drain(read_content(store, manifest, manifest.objects[0], Codec()))
    with pytest.raises(VerificationError, match=r"one\.zst is not what was backed up"):
        check_stored(store, manifest, manifest.objects[0])


@pytest.mark.parametrize("damage", [truncate, empty, lengthen])
def test_other_size_is_found_without_reading(
    store: ObjectStore, manifest: Manifest, folder: Path, damage: Damage
) -> None:
    damage(folder)
    with pytest.raises(VerificationError, match="stored bytes instead of"):
        check_store_checksum(store, manifest, manifest.objects[0])


def test_object_that_was_written_anew_is_found_by_its_checksum(store: ObjectStore, manifest: Manifest) -> None:
    item = manifest.objects[0]
    store.put(objects_folder("shop", manifest.backup_id) + item.name, os.urandom(item.stored_bytes))
    with pytest.raises(VerificationError, match="the store's checksum"):
        check_store_checksum(store, manifest, item)


def test_missing_object(store: ObjectStore, manifest: Manifest, folder: Path) -> None:
    (folder / "one.zst").unlink()
    for check in (check_stored, check_store_checksum):
        with pytest.raises(RepositoryError, match="NoSuchKey"):
            check(store, manifest, manifest.objects[0])


@pytest.mark.parametrize("damage", [truncate, flip_bit, swap, lambda folder: (folder / "one.zst").unlink()])
def test_verification_rejects_and_leaves_evidence(
    store: ObjectStore, manifest: Manifest, folder: Path, damage: Damage
) -> None:
    damage(folder)
    catalog = Catalog(store)
    with pytest.raises(VerificationError, match=r"one\.zst"):
        Verification(catalog, ENGINE, Codec(), Depth.FULL).run("shop", manifest.backup_id, Cancellation())
    (entry,) = catalog.backups("shop")
    assert entry.rejected
    rejected = entry.latest(EvidenceKind.REJECTED)
    assert rejected
    assert "one.zst" in catalog.read_evidence(entry, rejected)["what"]


def test_edited_manifest(store: ObjectStore, manifest: Manifest) -> None:
    key = manifest_key("shop", manifest.backup_id)
    store.put(key, store.get(key).replace(b'"source": "shop"', b'"source": "shoq"'))
    with pytest.raises(PlaybookError, match="changed after it was sealed"):
        Catalog(store).manifest("shop", manifest.backup_id)


def test_manifest_in_another_backups_place(store: ObjectStore, manifest: Manifest) -> None:
    other = "20260101T000000Z-000000"
    store.put(manifest_key("shop", other), store.get(manifest_key("shop", manifest.backup_id)))
    with pytest.raises(VerificationError, match=f"is the manifest of shop/{manifest.backup_id}"):
        Catalog(store).manifest("shop", other)


def test_damage_of_encrypted_objects_is_told_from_a_wrong_key(store: ObjectStore, s3: S3Gateway) -> None:
    identity = new_backup_id(datetime.now(UTC))
    with Keyring(Encryption(passphrase="right")) as keyring:
        codec = Codec(keyring=keyring)
        manifest = take_backup(ENGINE, ENGINE, BackupWriter(store, "shop", identity, codec), Cancellation())
        assert b"".join(read_content(store, manifest, manifest.objects[0], codec))
    with Keyring(Encryption(passphrase="wrong")) as keyring, pytest.raises(PlaybookError, match="Bad session key"):
        drain(read_content(store, manifest, manifest.objects[0], Codec(keyring=keyring)))
    path = s3.buckets / store.bucket / "playbook" / objects_folder("shop", identity) / "one.zst.gpg"
    data = bytearray(path.read_bytes())
    data[9_000] ^= 1
    path.write_bytes(data)
    with (
        Keyring(Encryption(passphrase="right")) as keyring,
        pytest.raises(VerificationError, match="other stored bytes"),
    ):
        drain(read_content(store, manifest, manifest.objects[0], Codec(keyring=keyring)))


def test_failed_run_removes_what_it_stored(store: ObjectStore) -> None:
    writer = BackupWriter(store, "shop", new_backup_id(datetime.now(UTC)), Codec())

    class Breaks(BytesEngine):
        def dump(self, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
            super().dump(writer, cancellation)
            raise OSError("the database went away")

    with pytest.raises(OSError, match="went away"):
        take_backup(Breaks({"one": b"x"}), ENGINE, writer, Cancellation())
    assert not list(store.list(""))
