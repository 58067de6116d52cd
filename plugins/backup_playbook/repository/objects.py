"""Objects of one backup: written as encoded streams, read back against their manifest."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import zstandard

import backup_playbook
from backup_playbook.core.errors import EncryptionError, RepositoryError, VerificationError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject, TableRecord
from backup_playbook.repository.layout import objects_folder
from backup_playbook.repository.s3errors import is_unreadable
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.upload import first_part_bytes, upload
from backup_playbook.streams.blocks import Blocks, Digest, drain, tap
from backup_playbook.streams.codec import Codec

log = logging.getLogger(__name__)

UNREADABLE_MOST = 10
"""Unreadable objects until a verification gives up: each costs its retries."""
TIER_TAG = "backup-tier"
FIRST_TIER = "daily"


class BackupWriter:
    """Writer of the objects of one backup. Nothing that it wrote counts before the manifest is sealed."""

    def __init__(self, store: ObjectStore, source: str, backup_id: str, codec: Codec, prefix: str = "") -> None:
        """Begin a backup; `prefix` begins the names of all its objects, when other objects of it are kept."""
        self.store, self.codec = store, codec
        self.source, self.backup_id = source, backup_id
        self.prefix = prefix
        self.started_at = datetime.now(UTC)
        self._folder = objects_folder(source, backup_id)

    def write(self, name: str, kind: ObjectKind, blocks: Blocks, *, estimate: int = 0) -> StoredObject:
        """Compress and encrypt content into one object; `estimate` is its expected size in bytes."""
        content = Digest()
        encoded = self.codec.encode(tap(blocks, content.update))
        full_name = self.prefix + name + self.codec.suffix
        first_part = first_part_bytes(estimate, equal=self.store.options.equal_parts)
        stored = upload(
            self.store, self._folder + full_name, encoded, first_part=first_part, tags={TIER_TAG: FIRST_TIER}
        )
        return StoredObject(
            name=full_name,
            kind=kind,
            stored_bytes=stored.bytes,
            stored_sha256=stored.sha256,
            first_part_bytes=first_part,
            store_checksum=stored.store_checksum,
            content_bytes=content.bytes,
            content_sha256=content.sha256,
        )

    def manifest(
        self,
        engine: str,
        *,
        snapshot_at: datetime,
        details: dict[str, Any],
        objects: Iterable[StoredObject],
        tables: Iterable[TableRecord] = (),
        tools: Mapping[str, str] = MappingProxyType({}),
        started_at: datetime | None = None,
    ) -> Manifest:
        """Manifest of what was written, not sealed yet.

        tools: versions of the engine's own. started_at: when the backup began before this writer.
        """
        return Manifest(
            backup_id=self.backup_id,
            source=self.source,
            engine=engine,
            started_at=started_at or self.started_at,
            snapshot_at=snapshot_at,
            finished_at=datetime.now(UTC),
            tools={
                "backup_playbook": backup_playbook.__version__,
                **tools,
                "python": platform.python_version(),
                "zstandard": zstandard.__version__,
            },
            compression=self.codec.compression,
            encryption=self.codec.encryption,
            details=details,
            objects=tuple(objects),
            tables=tuple(tables),
        )

    def discard(self) -> None:
        """Remove the objects of a failed run at once, before the sweep finds them."""
        self.store.delete([item.key for item in self.store.list(self._folder)])


@dataclass(frozen=True)
class BackupReader:
    """Reader of one backup."""

    store: ObjectStore
    manifest: Manifest
    codec: Codec

    def content(self, item: StoredObject) -> Iterator[bytes]:
        """Stream the content of an object; see `read_content`."""
        return read_content(self.store, self.manifest, item, self.codec)

    def objects(self, kind: ObjectKind) -> list[StoredObject]:
        """Objects of one kind, in the order of the manifest."""
        return [item for item in self.manifest.objects if item.kind is kind]


def read_content(store: ObjectStore, manifest: Manifest, item: StoredObject, codec: Codec) -> Iterator[bytes]:
    """Stream the content of an object; every stored and every content byte is checked as it passes.

    Raises VerificationError or EncryptionError, at the latest at the end: commit nothing before.
    """
    where = f"{store.url}/{objects_folder(manifest.source, manifest.backup_id)}{item.name}"
    stored, content = Digest(), Digest()
    raw = tap(store.read(objects_folder(manifest.source, manifest.backup_id) + item.name), stored.update)
    try:
        yield from tap(codec.decode(raw, item.name), content.update)
    except (VerificationError, EncryptionError):
        # other stored bytes explain it better than what gpg or zstd say of them
        drain(raw)
        _compare(where, "stored", stored, item.stored_bytes, item.stored_sha256)
        raise
    drain(raw)
    _compare(where, "stored", stored, item.stored_bytes, item.stored_sha256)
    _compare(where, "content", content, item.content_bytes, item.content_sha256)


class UnreadableObjects:
    """Objects that a verification cannot read: no proof of damage, and no reason to stop looking at the others."""

    def __init__(self) -> None:
        self._found: list[RepositoryError] = []

    def add(self, error: RepositoryError) -> None:
        """Note an error; raise it when it is not about one object, or when there are too many."""
        if not is_unreadable(error) or len(self._found) >= UNREADABLE_MOST:
            raise error
        log.error("%s", error.what)
        self._found.append(error)

    def report(self, problems: Sequence[VerificationError]) -> None:
        """Raise the first error, unless there is damage, which is worse."""
        if self._found and not problems:
            raise self._found[0]


def check_stored(store: ObjectStore, manifest: Manifest, item: StoredObject) -> None:
    """Read every stored byte, without decoding it. Raises VerificationError."""
    key = objects_folder(manifest.source, manifest.backup_id) + item.name
    stored = Digest()
    drain(tap(store.read(key), stored.update))
    _compare(f"{store.url}/{key}", "stored", stored, item.stored_bytes, item.stored_sha256)


def check_store_checksum(store: ObjectStore, manifest: Manifest, item: StoredObject) -> None:
    """Compare size and the store's own checksum, reading nothing.

    Raises VerificationError when they differ, RepositoryError when the store has no checksum.
    """
    key = objects_folder(manifest.source, manifest.backup_id) + item.name
    size, checksum = store.stored_checksum(key)
    where = f"{store.url}/{key}"
    if size != item.stored_bytes:
        raise _different(where, f"{size} stored bytes instead of {item.stored_bytes}")
    if item.store_checksum is None or checksum is None:
        raise no_checksum(where)
    if checksum != item.store_checksum:
        raise _different(where, f"the store's checksum {checksum} instead of {item.store_checksum}")


def no_checksum(where: str) -> RepositoryError:
    """Error about an object that has no SHA-256 in the store, so that nothing is known of it."""
    return RepositoryError(
        f"{where} has no checksum in the object store, so that only a full read can verify it.",
        "Set `verification: full` for this source, or `checksums: true` for its repository.",
    )


def _compare(where: str, which: str, found: Digest, size: int, sha256: str) -> None:
    if found.bytes != size:
        raise _different(where, f"{found.bytes} {which} bytes instead of {size}")
    if found.sha256 != sha256:
        raise _different(where, f"other {which} bytes: SHA-256 {found.sha256} instead of {sha256}")


def _different(where: str, how: str) -> VerificationError:
    return VerificationError(
        f"{where} is not what was backed up: it has {how}.",
        "Use another backup, or the off-site copy; find out who wrote to the bucket, or whether its disk is failing.",
    )
