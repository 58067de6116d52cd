"""Reading older backups again, in every repository that holds them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backup_playbook.core.errors import PlaybookError, RepositoryError, VerificationError
from backup_playbook.core.evidence import Verified
from backup_playbook.core.facts import Unreadable
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.recovery_points import RETRIEVAL
from backup_playbook.core.scrub import plan_scrub
from backup_playbook.engines.backup import Depth, Verification
from backup_playbook.engines.contract import Engine
from backup_playbook.engines.survey import OpenCatalog, survey
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import RESTORE_SCRIPT, catalog_folder, manifest_key, objects_folder
from backup_playbook.repository.s3errors import is_missing, is_of_object, is_unreadable
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)


@dataclass
class Scrubbed:
    """Result of one scrub of a source. Rejections are in the repositories, as evidence.

    read: backups, rejected ones included. bytes: stored bytes of the sound ones.
    """

    read: int = 0
    bytes: int = 0
    rejected: int = 0
    seconds: float = 0.0
    unreadable: list[Unreadable] = field(default_factory=list)


@dataclass(frozen=True)
class Scrub:
    """Repeated verification of older backups, each as deep as possible.

    Without the key they are compared as stored; in an archive, by their checksums.
    """

    engine: Engine
    codec: Codec
    streams: int
    cancellation: Cancellation

    def run(
        self,
        source: str,
        repositories: Sequence[str],
        open_catalog: OpenCatalog,
        within: timedelta,
        now: datetime,
        *,
        asked: bool = False,
    ) -> Scrubbed:
        """Read the backups that are due, see plan_scrub. A damaged one is rejected, and the others are read still."""
        started = time.monotonic()
        seen = survey(source, repositories, open_catalog)
        done = Scrubbed(unreadable=list(seen.unreadable.values()))
        for repository, entries in seen.listed.items():
            due = plan_scrub(entries, within, now, asked=asked)
            log.info("%s in %s: %d of %d backups are read again.", source, repository, len(due), len(entries))
            catalog = seen.catalogs[repository]
            for entry in due:
                try:
                    self._reread(catalog, entry, done)
                except PlaybookError as error:
                    self.cancellation.check()  # the task is being ended
                    log.warning("%s in %s: %s", entry.backup_id, repository, error)
                    alone = (
                        isinstance(error, RepositoryError)
                        and is_of_object(error)
                        and answers(catalog, source, entry.backup_id)
                    )
                    done.unreadable.append(_unreadable(repository, entry, error, alone=alone))
                    if isinstance(error, RepositoryError) and not alone:
                        break  # the next would wait for its retries as long
        done.seconds = round(time.monotonic() - started, 1)
        return done

    def _reread(self, catalog: Catalog, entry: CatalogEntry, done: Scrubbed) -> None:
        try:
            done.bytes += self._verify(catalog, entry).stored_bytes or 0
        except VerificationError as error:
            log.error("%s in %s is REJECTED: %s", entry.backup_id, catalog.store.name, error)
            done.rejected += 1
        except RepositoryError:
            if catalog.store.exists(manifest_key(entry.source, entry.backup_id)):
                raise
            log.info("%s was removed from %s meanwhile.", entry.backup_id, catalog.store.name)
            return
        done.read += 1

    def _verify(self, catalog: Catalog, entry: CatalogEntry) -> Verified:
        manifest = _manifest(catalog, entry)
        seal = first_seal(catalog, entry)

        def verify(depth: Depth, codec: Codec) -> Verified:
            verification = Verification(catalog, self.engine, codec, depth, self.streams)
            part = Cancellation(self.cancellation)  # the failure of one backup does not end the others
            return verification.run(entry.source, entry.backup_id, part, seal, manifest)

        try:
            return verify(*self._how(manifest))
        except RepositoryError:
            if manifest and _archived(catalog, manifest):
                return verify(Depth.CHECKSUMS, self.codec)
            raise

    def _how(self, manifest: Manifest | None) -> tuple[Depth, Codec]:
        """Choose by how the backup was encrypted, which may not be how the source is encrypted today."""
        method = manifest.encryption.method if manifest else "none"
        if method == "none":
            return Depth.FULL, Codec(self.codec.level)
        readable = method == self.codec.encryption.method and self.codec.can_decode
        return (Depth.FULL if readable else Depth.STORED), self.codec


def _unreadable(repository: str, entry: CatalogEntry, error: PlaybookError, *, alone: bool) -> Unreadable:
    """Describe a read failure. alone: it concerns an object of this backup; else the repository."""
    if not alone:
        return Unreadable(repository, error.what, error.remedy)
    remedy = error.remedy
    if isinstance(error, RepositoryError) and is_unreadable(error):
        remedy = (
            "Look at the object store's log and its disks. When it stays, run repair_backup with this id, and with the "
            "repository in which it cannot be read: what cannot be read there comes back from another one."
        )
    what = f"The backup {entry.backup_id} in {repository} cannot be read as a whole. {error.what}"
    return Unreadable(repository, what, remedy, entry.backup_id)


def answers(catalog: Catalog, source: str, backup_id: str) -> bool:
    """Check whether a repository answers for other objects than the one that could not be read."""
    for key in (manifest_key(source, backup_id), catalog_folder(source, backup_id) + RESTORE_SCRIPT):
        try:
            catalog.store.get(key)
        except RepositoryError as error:
            if not is_unreadable(error):
                return is_missing(error)
        else:
            return True
    return False


def _manifest(catalog: Catalog, entry: CatalogEntry) -> Manifest | None:
    """Read the manifest; None when it was tampered with: the verification finds that too, and writes the evidence."""
    try:
        return catalog.manifest(entry.source, entry.backup_id)
    except VerificationError:
        return None


def _archived(catalog: Catalog, manifest: Manifest) -> bool:
    """Check whether its bytes need a retrieval first; their checksums can be asked for at any time."""
    largest = max(manifest.objects, key=lambda item: item.stored_bytes, default=None)
    if largest is None:
        return False
    key = objects_folder(manifest.source, manifest.backup_id) + largest.name
    return catalog.store.storage_class(key) in RETRIEVAL


def first_seal(catalog: Catalog, entry: CatalogEntry, *, shared: bool = False) -> str:
    """Return the seal that its first verification found; empty when unknown. A replaced backup has another one.

    A copy has the seal of its origin, which a repair keeps. Old evidence lacks it; later verifications compared it.
    shared: copies have seals of their own, so that without the origin's nothing is known.
    """
    verified = [name for name in entry.evidence if name.kind is EvidenceKind.VERIFIED]
    if not verified:
        return ""
    try:
        first = Verified.read(catalog.read_evidence(entry, min(verified)))
        found = first if first and first.origin_seal else Verified.read(catalog.read_evidence(entry, max(verified)))
    except VerificationError:
        return ""
    if found and found.origin_seal:
        return found.origin_seal
    return "" if shared or first is None else first.manifest_seal or ""
