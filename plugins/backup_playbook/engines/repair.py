"""A damaged backup, made whole from a sound copy of it in another repository."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from backup_playbook.core.details import shares_contents
from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.model import Manifest, StoredObject
from backup_playbook.engines.scrub import answers, first_seal
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import MANIFEST, RESTORE_SCRIPT, catalog_folder, manifest_key
from backup_playbook.repository.objects import check_stored
from backup_playbook.repository.offsite import copy_objects
from backup_playbook.repository.s3errors import is_missing, is_unreadable
from backup_playbook.streams.parallel import Job, run_by_size
from backup_playbook.streams.processes import Cancellation


class Damage(NamedTuple):
    """Damaged parts of a backup. objects: those that are missing, unreadable, or not as they were stored."""

    objects: tuple[StoredObject, ...]
    manifest: bool
    restore_script: bool

    def names(self) -> list[str]:
        """List all damaged objects by name."""
        found = [item.name for item in self.objects]
        return found + [MANIFEST] * self.manifest + [RESTORE_SCRIPT] * self.restore_script


def find_damage(
    target: Catalog, entry: CatalogEntry | None, sound: Manifest, streams: int, cancellation: Cancellation
) -> Damage:
    """Compare a stored backup with the manifest of a sound copy, byte by byte. entry: the target's, if it has one.

    Raises VerificationError when the target's first verification was of another backup with this id.
    """
    require_same(target, entry, sound)

    def job(item: StoredObject) -> Callable[[], StoredObject | None]:
        return lambda: None if _is_right(target, sound, item, cancellation) else item

    jobs = [Job(item.stored_bytes, job(item)) for item in sound.objects]
    damaged = [item for item in run_by_size(jobs, streams, cancellation) if item]
    script = catalog_folder(sound.source, sound.backup_id) + RESTORE_SCRIPT
    return Damage(tuple(damaged), not _has_manifest(target, sound), not target.store.exists(script))


def require_same(target: Catalog, entry: CatalogEntry | None, sound: Manifest) -> None:
    """Raise VerificationError when the target's first verification was of another backup with this id."""
    seal = first_seal(target, entry, shared=shares_contents(sound)) if entry else ""
    if seal and seal not in (sound.seal, sound.origin_seal):
        raise VerificationError(
            f"{target.store.url} had another backup under the id {sound.backup_id} than the copy has: its first "
            "verification names another seal.",
            "Nothing is overwritten. Find out who wrote to the buckets; keep both until you know.",
        )


def repair(
    origin: Catalog,
    target: Catalog,
    sound: Manifest,
    damage: Damage,
    restore_script: str,
    *,
    same_endpoint: bool,
    streams: int,
    cancellation: Cancellation,
) -> None:
    """Replace damaged objects only: a repair that fails leaves the backup as bad as it was.

    Each object is compared with the manifest as it passes. Raises VerificationError.
    """
    copy_objects(
        origin.store, target.store, sound, damage.objects,
        same_endpoint=same_endpoint, streams=streams, cancellation=cancellation,
    )  # fmt: skip
    if damage.manifest:
        target.seal(sound, restore_script, again=True)
    elif damage.restore_script:
        target.store.put(catalog_folder(sound.source, sound.backup_id) + RESTORE_SCRIPT, restore_script.encode())


def _is_right(target: Catalog, sound: Manifest, item: StoredObject, cancellation: Cancellation) -> bool:
    cancellation.check()
    try:
        check_stored(target.store, sound, item)
    except VerificationError:
        return False
    except RepositoryError as error:
        if not (is_missing(error) or (is_unreadable(error) and answers(target, sound.source, sound.backup_id))):
            raise
        return False
    return True


def _has_manifest(target: Catalog, sound: Manifest) -> bool:
    if not target.store.exists(manifest_key(sound.source, sound.backup_id)):
        return False
    try:
        return target.manifest(sound.source, sound.backup_id).seal == sound.seal
    except VerificationError:
        return False
    except RepositoryError as error:
        if not (is_unreadable(error) and answers(target, sound.source, sound.backup_id)):
            raise
        return False
