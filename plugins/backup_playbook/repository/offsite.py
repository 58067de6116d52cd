"""A second copy of a backup in another repository: the same objects, the same manifest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.model import EvidenceKind, Manifest, StoredObject
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import EvidenceName, catalog_folder, objects_folder
from backup_playbook.repository.objects import FIRST_TIER, TIER_TAG
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.upload import server_side_copy, upload
from backup_playbook.streams.blocks import Digest, tap
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)


def copy_backup(
    origin: Catalog,
    target: Catalog,
    manifest: Manifest,
    restore_script: str,
    *,
    same_endpoint: bool,
    streams: int,
    cancellation: Cancellation,
) -> bool:
    """Copy the objects, then the manifest; False when the copy existed already.

    same_endpoint: one server holds both repositories and copies by itself; else the bytes stream through this process,
    and are compared with the manifest on their way. Raises VerificationError when they differ.
    """
    if has_copy(target, manifest):
        return False
    copy_objects(
        origin.store, target.store, manifest, manifest.objects,
        same_endpoint=same_endpoint, streams=streams, cancellation=cancellation,
    )  # fmt: skip
    target.seal(manifest, restore_script)
    return True


def copy_objects(
    origin: ObjectStore,
    target: ObjectStore,
    manifest: Manifest,
    items: Sequence[StoredObject],
    *,
    same_endpoint: bool,
    streams: int,
    cancellation: Cancellation,
) -> None:
    """Copy some objects of a backup; see `copy_backup`."""
    copy = _copy_on_server if same_endpoint else _copy_through

    def job(item: StoredObject) -> Callable[[], None]:
        key = objects_folder(manifest.source, manifest.backup_id) + item.name
        return lambda: copy(origin, target, key, item, cancellation)

    run_jobs([Job(item.stored_bytes, job(item)) for item in items], streams, cancellation)


def has_copy(target: Catalog, manifest: Manifest) -> bool:
    """Whether the backup was copied already.

    Raises VerificationError when another backup has its id there.
    """
    source, backup_id = manifest.source, manifest.backup_id
    if all(entry.backup_id != backup_id for entry in target.backups(source)):
        return False
    if target.manifest(source, backup_id).origin_seal != manifest.origin_seal:
        raise VerificationError(
            f"{target.store.url} holds another backup under the id {backup_id}.",
            "Find out who wrote it, and remove it manually: nothing is overwritten.",
        )
    return True


def _copy_through(
    origin: ObjectStore, target: ObjectStore, key: str, item: StoredObject, cancellation: Cancellation
) -> None:
    stored = Digest()
    blocks = tap(origin.read(key), stored.update, lambda _: cancellation.check())
    upload(target, key, blocks, first_part=item.first_part_bytes, tags={TIER_TAG: FIRST_TIER})
    if (stored.bytes, stored.sha256) != (item.stored_bytes, item.stored_sha256):
        raise VerificationError(
            f"{origin.url}/{key} changed since it was verified: it is not copied.",
            "Clear the task `verify` of this run to see what is wrong with the backup.",
        )


def _copy_on_server(
    origin: ObjectStore, target: ObjectStore, key: str, item: StoredObject, cancellation: Cancellation
) -> None:
    cancellation.check()
    try:
        server_side_copy(
            origin, target, key, size=item.stored_bytes, first_part=item.first_part_bytes, tags={TIER_TAG: FIRST_TIER}
        )
    except RepositoryError as error:
        # several compatibles cannot copy parts: versitygw 1.7 answers with the checksum of the whole for each of them
        log.warning("%s The bytes are streamed through this worker instead.", error.what)
        _copy_through(origin, target, key, item, cancellation)


_OF_THE_CONTENT = (EvidenceKind.UNEQUAL, EvidenceKind.ACCEPTED, EvidenceKind.RESTORED)


def share_verdicts(origin: Catalog, target: Catalog, source: str) -> int:
    """Copy the evidence on the content of backups that the other repository lacks: it holds for every copy.

    Evidence is written to all repositories at once. This is for those that were unreachable then, or got their copy
    later. Returns the number of documents copied.
    """
    copies, shared = {entry.backup_id: entry for entry in target.backups(source)}, 0
    for entry in origin.backups(source):
        copy = copies.get(entry.backup_id)
        missing = _missing(entry, copy) if copy else []
        if missing and _same(origin, target, entry):
            for name in missing:
                key = catalog_folder(source, entry.backup_id) + name.file_name
                target.store.put(key, origin.store.get(key))
            shared += len(missing)
    return shared


def _missing(entry: CatalogEntry, copy: CatalogEntry) -> list[EvidenceName]:
    there = {name.file_name for name in copy.evidence}
    missing = [name for name in entry.evidence if name.kind in _OF_THE_CONTENT and name.file_name not in there]
    if not copy.verified:  # a proof is of no use to a copy that nobody has read
        missing = [name for name in missing if name.kind is not EvidenceKind.RESTORED]
    both = replace(copy, evidence=[*copy.evidence, *missing])
    if both.unequal and not (entry.unequal or copy.unequal):
        # each was answered where it was found, by an answer that names no other one: together they would be open again
        missing = [name for name in missing if name.kind is not EvidenceKind.UNEQUAL]
    return missing


def _same(one: Catalog, other: Catalog, entry: CatalogEntry) -> bool:
    try:
        seals = {catalog.manifest(entry.source, entry.backup_id).origin_seal for catalog in (one, other)}
    except VerificationError as error:
        log.warning("The evidence on %s is not copied: %s", entry.backup_id, error.what)
        return False
    return len(seals) == 1
