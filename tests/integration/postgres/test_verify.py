"""Known-bad backups: every kind of damage is found, said in its own words, and leaves evidence against the backup."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard

from backup_playbook.core.errors import EncryptionError, VerificationError
from backup_playbook.core.evidence import Verified
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.catalog import CatalogEntry
from backup_playbook.repository.client import client_config
from backup_playbook.repository.layout import RESTORE_SCRIPT, catalog_folder, manifest_key, objects_folder
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.blocks import Digest
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from embedded.s3 import S3Gateway
from tests.integration.postgres.conftest import GpgHome
from tests.integration.postgres.lab import SOURCE, Lab, source_of
from tests.support.damage import flip_a_bit


@dataclass
class Stored:
    """A backup in its repository, and ways to damage it."""

    lab: Lab
    manifest: Manifest

    def key(self, item: StoredObject) -> str:
        return objects_folder(SOURCE, self.manifest.backup_id) + item.name

    def of_kind(self, kind: ObjectKind) -> list[StoredObject]:
        return [item for item in self.manifest.objects if item.kind is kind]

    def content(self, item: StoredObject) -> bytes:
        return zstandard.ZstdDecompressor().decompressobj().decompress(self.lab.store.get(self.key(item)))

    def replace(self, item: StoredObject, content: bytes) -> None:
        self.lab.store.put(self.key(item), zstandard.ZstdCompressor().compress(content))

    def rewrite_manifest(self, change: Callable[[dict[str, Any]], object], *, reseal: bool) -> None:
        key = manifest_key(SOURCE, self.manifest.backup_id)
        document = json.loads(self.lab.store.get(key))
        change(document)
        text = json.dumps(document).encode()
        if reseal:
            text = Manifest.model_validate_json(text).sealed().to_json()
        self.lab.store.put(key, text)

    def forge(self, item: StoredObject, content: bytes) -> None:
        """As somebody would who knows the format: other content, with all digests of the object set right."""
        self.replace(item, content)
        stored, plain = Digest(), Digest()
        stored.update(self.lab.store.get(self.key(item)))
        plain.update(content)
        found = {
            "stored_bytes": stored.bytes,
            "stored_sha256": stored.sha256,
            "content_bytes": plain.bytes,
            "content_sha256": plain.sha256,
        }

        def change(document: dict[str, Any]) -> None:
            next(entry for entry in document["objects"] if entry["name"] == item.name).update(found)

        self.rewrite_manifest(change, reseal=True)

    def verify(self, depth: Depth = Depth.FULL, *, expected_seal: str | None = None) -> Verified:
        verification = Verification(self.lab.catalog, PostgresEngine(), self.lab.codec, depth)
        seal = self.manifest.seal if expected_seal is None else expected_seal
        return verification.run(SOURCE, self.manifest.backup_id, Cancellation(), seal)

    @property
    def entry(self) -> CatalogEntry:
        (entry,) = self.lab.catalog.entries(SOURCE)
        return entry


@pytest.fixture(scope="module")
def original(s3: S3Gateway, postgres18: PostgresServer, small: str, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """One backup for all tests; nobody damages this one."""
    s3.create_bucket("original")
    store = ObjectStore(s3.client(client_config(2)), bucket="original", prefix="a/prefix")
    lab = Lab(s3, store, tmp_path_factory.mktemp("original"))
    return Stored(lab, lab.backup(source_of(postgres18.dsn(small), chunk_bytes=64 << 10)))


@pytest.fixture
def stored(lab: Lab, original: Stored) -> Stored:
    """A copy of it for one test."""
    client, source = lab.store.client, original.lab.store
    for folder in ("objects/", "catalog/"):
        for item in source.list(folder):
            client.copy_object(
                Bucket=lab.store.bucket,
                Key=lab.store.path(item.key),
                CopySource={"Bucket": source.bucket, "Key": source.path(item.key)},
                ChecksumAlgorithm="SHA256",
            )
    return Stored(lab, original.manifest)


# --- damage ----------------------------------------------------------------------------------------------------------


def truncate(stored: Stored) -> None:
    file = stored.lab.stored_file(stored.key(stored.of_kind(ObjectKind.TABLE)[0]))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_one_bit(stored: Stored) -> None:
    flip_a_bit(stored.lab.stored_file(stored.key(stored.of_kind(ObjectKind.TABLE)[1])))


def remove_an_object(stored: Stored) -> None:
    stored.lab.store.delete([stored.key(stored.of_kind(ObjectKind.SCHEMA)[0])])


def swap_two_objects(stored: Stored) -> None:
    one, other = (stored.key(item) for item in stored.of_kind(ObjectKind.TABLE)[:2])
    store = stored.lab.store
    first, second = store.get(one), store.get(other)
    store.put(one, second)
    store.put(other, first)


def empty_an_object(stored: Stored) -> None:
    stored.lab.store.put(stored.key(stored.of_kind(ObjectKind.PACK)[0]), b"")


def store_other_valid_data(stored: Stored) -> None:
    stored.replace(stored.of_kind(ObjectKind.GLOBALS)[0], b"DROP ROLE everybody;\n")


def add_a_row(stored: Stored) -> None:
    item = stored.of_kind(ObjectKind.TABLE)[0]
    stored.replace(item, stored.content(item) + b"999999\tone more\n")


def damage_two_objects(stored: Stored) -> None:
    flip_one_bit(stored)
    empty_an_object(stored)


def edit_the_manifest(stored: Stored) -> None:
    stored.rewrite_manifest(lambda document: document["tables"].pop(), reseal=False)


def edit_and_reseal_the_manifest(stored: Stored) -> None:
    stored.rewrite_manifest(lambda document: document["tables"].pop(), reseal=True)


def write_nonsense_as_manifest(stored: Stored) -> None:
    stored.lab.store.put(manifest_key(SOURCE, stored.manifest.backup_id), b'{"format": 1')


def write_a_later_format(stored: Stored) -> None:
    stored.rewrite_manifest(lambda document: document.update(format=2), reseal=False)


def remove_restore_script(stored: Stored) -> None:
    stored.lab.store.delete([catalog_folder(SOURCE, stored.manifest.backup_id) + RESTORE_SCRIPT])


DAMAGE: dict[Callable[[Stored], None], str] = {
    truncate: r"stored bytes instead of \d+",
    flip_one_bit: r"1 of \d+ objects .* other stored bytes: SHA-256 \w+ instead of",
    remove_an_object: r"not complete: schema\.dump\.zst is missing",
    swap_two_objects: r"2 of \d+ objects .* stored bytes",
    empty_an_object: r"0 stored bytes instead of \d+",
    store_other_valid_data: r"globals\.sql\.zst is not what was backed up",
    add_a_row: r"is not what was backed up",
    damage_two_objects: r"2 of \d+ objects",
    edit_the_manifest: r"changed after it was sealed",
    edit_and_reseal_the_manifest: r"is not the one that the backup wrote",
    write_nonsense_as_manifest: r"is not a manifest of format 1",
    write_a_later_format: r"is not a manifest of format 1: format",
    remove_restore_script: r"restore\.sh is missing",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_backup_is_rejected(damage: Callable[[Stored], None], stored: Stored) -> None:
    stored.verify()
    assert stored.entry.verified
    damage(stored)

    with pytest.raises(VerificationError, match=DAMAGE[damage]) as caught:
        stored.verify()

    assert "off-site copy" in caught.value.remedy
    assert stored.entry.rejected
    assert not stored.entry.verified
    evidence = stored.entry.latest(*[name.kind for name in stored.entry.evidence])
    assert evidence is not None
    assert stored.lab.catalog.read_evidence(stored.entry, evidence)["what"] == caught.value.what


@pytest.mark.parametrize(
    "damage",
    [truncate, remove_an_object, swap_two_objects, empty_an_object, store_other_valid_data, add_a_row,
     edit_the_manifest, edit_and_reseal_the_manifest, remove_restore_script],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_the_stores_own_checksums_find_whatever_came_through_the_store(
    damage: Callable[[Stored], None], stored: Stored
) -> None:
    stored.verify(Depth.CHECKSUMS)
    damage(stored)
    with pytest.raises(VerificationError):
        stored.verify(Depth.CHECKSUMS)
    assert stored.entry.rejected


def test_checksums_do_not_read_and_say_so(stored: Stored) -> None:
    """A disk that rots below the store is found by a full verification alone; the evidence tells which one it was."""
    flip_one_bit(stored)
    assert stored.verify(Depth.CHECKSUMS).depth == "checksums"
    assert stored.entry.verified
    assert stored.entry.verified.qualifier == "checksums"
    with pytest.raises(VerificationError):
        stored.verify(Depth.FULL)
    assert stored.entry.rejected


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (ObjectKind.TABLE, lambda old: old + b"999999\tone more\n", r"has \d+ rows of public\.measurements"),
        (ObjectKind.TABLE, lambda old: old.replace(b"1", b"2"), "or other bytes"),
        (
            ObjectKind.PACK,
            lambda old: old.replace(b"first", b"other"),
            r"where the manifest says 2 rows of public\.notes",
        ),
        (ObjectKind.PACK, lambda old: old.replace(b"COPY", b"copy", 1), "where the manifest says"),
        (ObjectKind.PACK, lambda old: old + b"\\! touch hacked\n", "cut off in the middle of a table"),
        (ObjectKind.PACK, lambda old: old[:-3], "cut off in the middle of a table"),
        (ObjectKind.PACK, lambda old: b"", "has 0 tables"),
        (ObjectKind.SCHEMA, lambda old: b"no archive", "pg_restore cannot read schema.dump.zst"),
        (ObjectKind.SCHEMA, lambda old: b"", "pg_restore cannot read schema.dump.zst"),
        (ObjectKind.LARGE_OBJECTS, lambda old: b"PGDMP", "pg_restore cannot read large_objects.dump.zst"),
    ],
)
def test_content_that_does_not_fit_its_table_is_rejected(
    kind: ObjectKind, change: Callable[[bytes], bytes], message: str, stored: Stored
) -> None:
    """All digests of objects agree, as after a bug of ours: what the tables are said to hold does not."""
    item = stored.of_kind(kind)[0]
    stored.forge(item, change(stored.content(item)))
    with pytest.raises(VerificationError, match=message):
        stored.verify(expected_seal="")
    assert stored.entry.rejected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["objects"].pop(0), r"objects of kind schema instead of one"),
        (
            lambda m: m.update(objects=[o for o in m["objects"] if o["kind"] != "large_objects"]),
            "large objects and has",
        ),
        (
            lambda m: m.update(objects=[o for o in m["objects"] if o["kind"] != "sequences"]),
            "sequences and has no object",
        ),
        (lambda m: m["tables"].pop(), "holds rows of no table|where the manifest says"),
        (lambda m: m["tables"][0].update(parts=[]), "has no part"),
        (lambda m: m["tables"].append(m["tables"][0]), "2 times"),
        (lambda m: m["objects"].append(m["objects"][0]), "2 times"),
        (lambda m: m["tables"][0]["parts"][0].update(object="gone.zst"), "which it does not name"),
    ],
)
def test_a_manifest_that_lacks_something_is_rejected(
    change: Callable[[dict[str, Any]], object], message: str, stored: Stored
) -> None:
    stored.rewrite_manifest(change, reseal=True)
    with pytest.raises(VerificationError, match=message):
        stored.verify(expected_seal="")
    assert stored.entry.rejected


@pytest.mark.parametrize(
    ("source", "message"), [(SOURCE, "another backup of the same source"), ("billing", "a backup of another source")]
)
def test_a_backup_that_was_copied_from_elsewhere(
    source: str, message: str, lab: Lab, small: str, postgres18: PostgresServer
) -> None:
    """All of it is whole, and only its place is wrong: rows of yesterday, or of others, would pass for today's."""
    now = datetime.now(UTC)
    writer = BackupWriter(lab.store, source, new_backup_id(now - timedelta(days=1)), lab.codec)
    original = take_backup(source_of(postgres18.dsn(small)), PostgresEngine(), writer, Cancellation())
    copy = new_backup_id(now)
    for folder_of in (objects_folder, catalog_folder):
        folder = folder_of(source, original.backup_id)
        for item in lab.store.list(folder):
            lab.store.put(folder_of(SOURCE, copy) + item.key.removeprefix(folder), lab.store.get(item.key))

    said = rf"{SOURCE}/{copy}/manifest\.json is the manifest of {source}/{original.backup_id}, {message}"
    with pytest.raises(VerificationError, match=said):
        open_backup(lab.catalog, PostgresEngine(), SOURCE, copy, lab.codec)
    with pytest.raises(VerificationError, match=said):
        Verification(lab.catalog, PostgresEngine(), lab.codec, Depth.FULL).run(SOURCE, copy, Cancellation())

    assert {entry.backup_id: entry.rejected for entry in lab.catalog.entries()} == {
        copy: True,
        original.backup_id: False,
    }


def test_a_wrong_passphrase_proves_nothing(lab: Lab, small: str, postgres18: PostgresServer) -> None:
    """Neither for the backup nor against it: the stored bytes are right, and it may be the key that is wrong."""
    with Keyring(Encryption(passphrase="the right one")) as keyring:
        lab.codec = Codec(keyring=keyring)
        manifest = lab.backup(source_of(postgres18.dsn(small)))
    with (
        Keyring(Encryption(passphrase="another one")) as keyring,
        pytest.raises(EncryptionError, match=r"cannot be decrypted(?s:.*)check the Airflow connection"),
    ):
        lab.verify(manifest, codec=Codec(keyring=keyring))
    (entry,) = lab.catalog.entries(SOURCE)
    assert not entry.verified
    assert not entry.rejected


def test_without_the_private_key_the_stored_bytes_are_verified(
    lab: Lab, small: str, postgres18: PostgresServer, gpg_home: GpgHome
) -> None:
    with Keyring(gpg_home.public_only) as keyring:
        lab.codec = Codec(keyring=keyring)
        manifest = lab.backup(source_of(postgres18.dsn(small)))
        with pytest.raises(EncryptionError, match="no key that opens it"):
            lab.verify(manifest)
        assert lab.verify(manifest, Depth.STORED).depth == "stored"
        flip_one_bit_of = lab.stored_file(objects_folder(SOURCE, manifest.backup_id) + manifest.objects[0].name)
        flip_one_bit_of.write_bytes(flip_one_bit_of.read_bytes()[:-1] + b"!")
        with pytest.raises(VerificationError, match="other stored bytes"):
            lab.verify(manifest, Depth.STORED)
