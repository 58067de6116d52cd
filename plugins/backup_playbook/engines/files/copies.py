"""Copies of backups of files in another repository: contents, and a tree that names them."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.core.tree import Entry, key_of
from backup_playbook.engines.files.details import FilesDetails
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.shards import entries
from backup_playbook.engines.files.source import FilesOptions, FilesSource
from backup_playbook.engines.files.steps import remove_all_but_named
from backup_playbook.engines.files.verify import verified
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupReader, BackupWriter
from backup_playbook.repository.offsite import has_copy
from backup_playbook.repository.s3errors import is_missing
from backup_playbook.repository.small_objects import SmallObjects
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")


@dataclass(frozen=True)
class BackupTree:
    """A backup as the tree of another one: its contents are compared with it as they pass."""

    reader: BackupReader

    @property
    def details(self) -> dict[str, Any]:
        """Details for the manifest: none."""
        return {}

    @cached_property
    def _stored(self) -> SmallObjects:
        return SmallObjects(self.reader.store)

    def scan(self, cancellation: Cancellation) -> Iterator[Entry]:
        """Read the tree of the backup."""
        for entry in entries(self.reader):
            cancellation.check()
            yield entry

    def look_closer(self, entry: Entry) -> Entry:
        """Return the entry: a backup has no more to see."""
        return entry

    def read(self, entry: Entry, consume: Callable[[Blocks], T]) -> tuple[Entry, T]:
        """Read a content. Raises VerificationError when it is gone, or not what the backup says."""
        key = key_of(self.reader.manifest.source, entry)
        try:
            return entry, consume(verified(self._stored, key, entry))
        except RepositoryError as error:
            if not is_missing(error):
                raise
            raise VerificationError(
                f"{self.reader.store.url}/{key} (version {entry.version}) is gone: the backup is not copied.",
                "Clear the task `verify` of this run to see what is wrong with the backup.",
            ) from error


def copy_files(
    origin: BackupReader, target: Catalog, options: FilesOptions, cancellation: Cancellation, *, anew: bool = False
) -> bool:
    """Bring the target's current state to this backup, and seal a manifest of the same id there.

    Returns False when the copy existed already. anew: replace a copy that was rejected; it stays until the new one is
    sealed. Raises VerificationError when a content is not what the backup says.
    """
    manifest = origin.manifest
    if not anew and has_copy(target, manifest):
        return False
    prefix = f"{uuid.uuid4().hex[:8]}-" if anew else ""
    writer = BackupWriter(target.store, manifest.source, manifest.backup_id, origin.codec, prefix)
    if not anew:
        writer.discard()  # of a copy that did not reach its end
    copy = FilesSource(BackupTree(origin), replace(options, rehash_every=sys.maxsize), anew)
    draft = copy.scan(writer, cancellation)
    made = copy.sync(writer, draft, cancellation)
    sealed = _as_copy(manifest, made)
    target.seal(sealed, FilesEngine().restore_script(sealed, target.store.url), again=anew)
    remove_all_but_named(target.store, sealed)
    return True


def _as_copy(manifest: Manifest, made: Manifest) -> Manifest:
    of_the_copy = {"shards", "done", "previous", "relies_on"}
    details = {**manifest.details, **FilesDetails.of(made).model_dump(mode="json", include=of_the_copy)}
    details["copy_of"] = manifest.origin_seal
    return manifest.model_copy(update={"objects": made.objects, "details": details, "seal": ""}).sealed()
