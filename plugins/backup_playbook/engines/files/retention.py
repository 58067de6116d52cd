"""Removal of versions that no backup names any more."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator, Sequence, Set
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from backup_playbook.core.errors import RepositoryError
from backup_playbook.core.tree import current_folder, hashed_folder, key_of
from backup_playbook.engines.files.base import readable
from backup_playbook.engines.files.shards import entries
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import objects_folder, split_key
from backup_playbook.repository.listing import ListedVersion
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import Version, delete_versions, list_versions
from backup_playbook.streams.codec import Codec

log = logging.getLogger(__name__)


class Removed(NamedTuple):
    """Counts of removed versions of files, and of shards of removed backups."""

    versions: int
    shards: int


def remove_unnamed(catalog: Catalog, source: str, grace: timedelta, now: datetime) -> Removed:
    """Remove versions that no backup names, after backups were removed.

    Nothing younger than `grace` goes: a running backup is not sealed yet. Every tree is read beside the listing of all
    versions; when one cannot be read, nothing more is removed. While a backup has a damaged manifest, or was rejected
    for a damaged tree, no version of a file goes: it may be what repairs it.
    Raises RepositoryError, VerificationError.
    """
    backups = catalog.backups(source)
    if not backups:
        return Removed(0, 0)  # not even the last one: an empty catalog is more likely a mistake than an intention
    store = _WholeReads(
        catalog.store.client, bucket=catalog.store.bucket, prefix=catalog.store.prefix, name=catalog.store.name
    )
    border = now - grace
    count = _remove_versions(store, source, backups, border)
    sealed = {entry.backup_id for entry in backups}
    shards = delete_versions(store, _of_removed_backups(store, source, sealed, border))
    log.info("Removed %d versions of files in %s that no backup names, and %d of old trees.", count, store.url, shards)
    return Removed(count, shards)


def _remove_versions(store: ObjectStore, source: str, backups: Sequence[CatalogEntry], border: datetime) -> int:
    readers = []
    for entry in backups:
        reader = readable(Catalog(store), [entry], Codec(), whole=entry.rejected)
        if reader is None:
            log.warning(
                "%s %s is damaged: no version of a file is removed until it is repaired, or gone.",
                source, entry.backup_id,
            )  # fmt: skip
            return 0
        readers.append(reader)
    hashed = {named for reader in readers for named in _named(reader, hashed_key=True)}
    listed = list_versions(store, hashed_folder(source))
    count = delete_versions(store, _unnamed(listed, iter(sorted(hashed)), border))
    merged = heapq.merge(*(_named(reader, hashed_key=False) for reader in readers))
    return count + delete_versions(store, _unnamed(list_versions(store, current_folder(source)), merged, border))


class _WholeReads(ObjectStore):
    """Store that reads objects whole: of many open connections, most would be cut while they wait."""

    def read(self, key: str, version: str = "") -> Iterator[bytes]:
        yield b"".join(super().read(key, version))


def _named(reader: BackupReader, *, hashed_key: bool) -> Iterator[Version]:
    source = reader.manifest.source
    for entry in entries(reader):
        if entry.stored and entry.hashed_key == hashed_key:
            yield Version(key_of(source, entry), entry.version)


def _unnamed(listed: Iterable[ListedVersion], named: Iterator[Version], border: datetime) -> Iterator[Version]:
    """Merge both; named: in the order of keys. In another order of the listing, everything would seem unnamed."""
    waiting = next(named, None)
    before = ""
    for key, group in groupby(listed, key=lambda item: item.path):
        if key < before:
            raise RepositoryError(
                f"The object store lists {key!r} after {before!r}, which is not the order of S3.",
                "No version was removed. Remove old versions by a lifecycle rule of the bucket instead.",
            )
        before = key
        kept: set[str] = set()
        while waiting and waiting.key <= key:
            if waiting.key == key:
                kept.add(waiting.version)
            waiting = next(named, None)
        yield from _removable(key, list(group), kept, border)


def _removable(key: str, versions: list[ListedVersion], kept: Set[str], border: datetime) -> Iterator[Version]:
    """Choose versions to remove; a delete marker goes when it hides nothing that stays."""
    staying = [item for item in versions if not item.deleted and (item.version in kept or item.modified >= border)]
    for item in versions:
        if item.version not in kept and item.modified < border and not (item.deleted and item.latest and staying):
            yield Version(key, item.version)


def _of_removed_backups(store: ObjectStore, source: str, sealed: Set[str], border: datetime) -> Iterator[Version]:
    for item in list_versions(store, objects_folder(source)):
        parts = split_key(item.path)
        if parts and parts[1] not in sealed and item.modified < border:
            yield Version(item.path, item.version)
