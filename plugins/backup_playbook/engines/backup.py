"""Taking, verifying and copying a backup, the same for every engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from backup_playbook.core.errors import AlreadySealedError, PlaybookError, RepositoryError, VerificationError
from backup_playbook.core.evidence import Rejected, Verified
from backup_playbook.core.model import Manifest, StoredObject
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.contract import Engine, SharesContent, Source
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import RESTORE_SCRIPT, catalog_folder, manifest_key, objects_folder
from backup_playbook.repository.objects import (
    BackupReader,
    BackupWriter,
    UnreadableObjects,
    check_store_checksum,
    check_stored,
    read_content,
)
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.parallel import Job, run_by_size
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)

REPAIRED = "repaired"
"""Qualifier of the verification after a repair."""


class Depth(StrEnum):
    """Depth of a verification; part of the evidence."""

    FULL = "full"
    """Every byte read, decrypted, decompressed and compared with the content digests."""
    STORED = "stored"
    """Every stored byte read and compared; not opened, for lack of the key. The restore test proves the content."""
    CHECKSUMS = "checksums"
    """Sizes and the object store's own checksums compared; nothing read."""


def take_backup(source: Source, engine: Engine, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
    """Dump, then seal. Remove what a failed dump stored, as far as possible.

    When sealing fails nothing is removed: the manifest may have arrived although its answer did not. The sweep removes
    the rest. Raises AlreadySealedError, before anything is written, when the backup id is taken.
    """
    _require_free(writer)
    try:
        manifest = source.dump(writer, cancellation).sealed()
        if problems := engine.check_manifest(manifest):
            raise VerificationError(
                f"The dump of {writer.source} is not complete: {' '.join(problems)}",
                "Run it again; report it if it stays.",
            )
        restore_script = engine.restore_script(manifest, writer.store.url)
    except BaseException:
        _discard(writer)
        raise
    Catalog(writer.store).seal(manifest, restore_script)
    log.info(
        "%s %s is sealed: %s, %s, stored as %s in %d objects.",
        manifest.source, manifest.backup_id, engine.summary(manifest), human_bytes(manifest.content_bytes),
        human_bytes(manifest.stored_bytes), len(manifest.objects),
    )  # fmt: skip
    return manifest


def _require_free(writer: BackupWriter) -> None:
    writer.store.check()
    if writer.store.exists(manifest_key(writer.source, writer.backup_id)):
        raise AlreadySealedError(
            f"{writer.source} {writer.backup_id} exists already in {writer.store.url}.",
            "Nothing was touched. Start a new run: each try of a backup has an id of its own.",
        )


def _discard(writer: BackupWriter) -> None:
    try:
        writer.discard()
    except PlaybookError as error:
        # the first failure is the one to report; the sweep removes what stays behind
        log.warning("What this run stored could not be removed: %s The sweep will remove it.", error.what)


@dataclass(frozen=True)
class Verification:
    """Comparison of a stored backup with its manifest.

    repaired: the damaged part has just been replaced from a verified copy. That also ends findings of a deeper look.
    """

    catalog: Catalog
    engine: Engine
    codec: Codec
    depth: Depth
    streams: int = 2
    repaired: bool = False

    def run(
        self,
        source: str,
        backup_id: str,
        cancellation: Cancellation,
        expected_seal: str = "",
        manifest: Manifest | None = None,
    ) -> Verified:
        """Write `verified-*` evidence and return it. When something differs: `rejected-*`, and VerificationError.

        expected_seal: the seal that the backup's run returned; a manifest that was replaced since has another.
        manifest: as just read from the catalog, to spare a second request.
        """
        seen = self.catalog.entry(source, backup_id)  # a rejection that comes while this reads is not answered by it
        try:
            manifest = manifest or self.catalog.manifest(source, backup_id)
            self._check_manifest(manifest, expected_seal)
            problems = self._check_objects(manifest, cancellation)
            if problems:
                # of contents that backups share, nobody has counted how many there are
                among = "" if isinstance(self.engine, SharesContent) else f"of {len(manifest.objects)} "
                raise VerificationError(
                    f"{len(problems)} {among}objects of {source} {backup_id} are not as backed up: "
                    + " | ".join(problem.what for problem in problems[:5]),
                    problems[0].remedy,
                    tuple(problem.what for problem in problems),
                )
        except VerificationError as error:
            self.catalog.add_evidence(
                source, backup_id,
                Rejected(
                    depth=self.depth, what=error.what, problems=error.problems, repository=self.catalog.store.name
                ),
                qualifier=self.depth,
            )  # fmt: skip
            raise
        verified = Verified(
            depth=self.depth,
            manifest_seal=manifest.seal,
            origin_seal=manifest.origin_seal,
            objects=len(manifest.objects),
            stored_bytes=manifest.stored_bytes,
            content_bytes=manifest.content_bytes if self.depth is Depth.FULL else None,
            tables=len(manifest.tables),
            rows=manifest.rows,
        )
        qualifier = REPAIRED if self.repaired else self.depth
        self.catalog.add_evidence(source, backup_id, verified, qualifier=qualifier, seen=seen)
        return verified

    def _check_manifest(self, manifest: Manifest, expected_seal: str) -> None:
        remedy = "Use another backup, or the off-site copy, and find out who wrote to the bucket."
        if expected_seal and expected_seal not in (manifest.seal, manifest.origin_seal):
            raise VerificationError(
                f"The manifest of {manifest.source} {manifest.backup_id} is not the one that the backup wrote.", remedy
            )
        store = self.catalog.store
        folder = objects_folder(manifest.source, manifest.backup_id)
        stored = {item.key.removeprefix(folder) for item in store.list(folder)}
        problems = self.engine.check_manifest(manifest)
        problems += [f"{item.name} is missing." for item in manifest.objects if item.name not in stored]
        if not store.exists(catalog_folder(manifest.source, manifest.backup_id) + RESTORE_SCRIPT):
            problems.append(f"{RESTORE_SCRIPT} is missing.")
        if problems:
            raise VerificationError(
                f"{manifest.source} {manifest.backup_id} is not complete: {' '.join(problems)}", remedy, tuple(problems)
            )

    def _check_objects(self, manifest: Manifest, cancellation: Cancellation) -> list[VerificationError]:
        """Find all damaged objects, not just the first: it tells a failing disk from one lost file.

        Raises RepositoryError when none is damaged, and one cannot be read.
        """
        unreadable = UnreadableObjects()

        def job(item: StoredObject) -> Callable[[], VerificationError | None]:
            def run() -> VerificationError | None:
                cancellation.check()
                try:
                    self._check_object(manifest, item)
                except VerificationError as error:
                    return error
                except RepositoryError as error:
                    unreadable.add(error)
                return None

            return run

        jobs = [Job(item.content_bytes, job(item)) for item in manifest.objects]
        problems = [problem for problem in run_by_size(jobs, self.streams, cancellation) if problem]
        unreadable.report(problems)
        if isinstance(self.engine, SharesContent) and not problems:
            reader = BackupReader(self.catalog.store, manifest, self.codec)
            read = self.depth is not Depth.CHECKSUMS
            problems += self.engine.check_shared(reader, self.streams, cancellation, read=read)
        return problems

    def _check_object(self, manifest: Manifest, item: StoredObject) -> None:
        store = self.catalog.store
        if self.depth is Depth.CHECKSUMS:
            check_store_checksum(store, manifest, item)
        elif self.depth is Depth.STORED:
            check_stored(store, manifest, item)
        else:
            self.engine.check_content(manifest, item, read_content(store, manifest, item, self.codec))


def require_verified(catalog: Catalog, source: str, backup_id: str) -> CatalogEntry:
    """Return the catalog's entry of a backup. Raises RepositoryError unless its newest verification was good."""
    for entry in catalog.backups(source):
        if entry.backup_id == backup_id:
            if entry.verified:
                return entry
            state = "was rejected by its last verification" if entry.rejected else "is not verified"
            raise RepositoryError(
                f"{source} {backup_id} in repository {catalog.store.name!r} {state}.",
                "Only verified backups are copied: clear the task `verify` of this run, or take a new backup.",
            )
    raise RepositoryError(
        f"There is no backup {backup_id} of {source} in {catalog.store.url}.", "Choose one that the catalog lists."
    )
