"""A second copy of a backup in another repository: the same objects, the same manifest."""

from __future__ import annotations

import logging
from collections.abc import Callable

from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.model import Manifest, StoredObject
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import objects_folder
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
    source, backup_id = manifest.source, manifest.backup_id
    if has_copy(target, manifest):
        return False
    copy = _copy_on_server if same_endpoint else _copy_through

    def job(item: StoredObject) -> Callable[[], None]:
        key = objects_folder(source, backup_id) + item.name
        return lambda: copy(origin.store, target.store, key, item, cancellation)

    run_jobs([Job(item.stored_bytes, job(item)) for item in manifest.objects], streams, cancellation)
    target.seal(manifest, restore_script)
    return True


def has_copy(target: Catalog, manifest: Manifest) -> bool:
    """Whether it was copied already. Raises VerificationError when something else has its id there."""
    source, backup_id = manifest.source, manifest.backup_id
    if all(entry.backup_id != backup_id for entry in target.backups(source)):
        return False
    if target.manifest(source, backup_id).origin_seal != manifest.seal:
        raise VerificationError(
            f"{target.store.url} holds another backup under the id {backup_id}.",
            "Find out who wrote it, and remove it by hand: nothing is overwritten.",
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
