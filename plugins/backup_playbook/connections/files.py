"""Access to a source of files: a directory or a bucket."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from backup_playbook.config.file_trees import FilesSource
from backup_playbook.connections.base import Access
from backup_playbook.connections.repositories import Repositories
from backup_playbook.connections.s3 import other_bucket
from backup_playbook.core.errors import ConfigError, RestoreError
from backup_playbook.core.files_guard import DeleteLimits, reason_to_stop
from backup_playbook.core.model import Manifest
from backup_playbook.engines.destination import Destination
from backup_playbook.engines.files.bucket import BucketTree
from backup_playbook.engines.files.copies import copy_files
from backup_playbook.engines.files.destinations import InPlace, NewDirectory, NewFolder
from backup_playbook.engines.files.details import ScanDetails
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.history import FileVersion, backup_with, versions_of
from backup_playbook.engines.files.plan import Action
from backup_playbook.engines.files.retention import remove_unnamed
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.source import FilesOptions, losses
from backup_playbook.engines.files.source import FilesSource as LiveFiles
from backup_playbook.engines.files.steps import SCANNED, SYNCED, in_words, leave, seal, take
from backup_playbook.engines.files.trees import Tree
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupReader, BackupWriter
from backup_playbook.streams.processes import Cancellation


class Scan(NamedTuple):
    """A tree beside its previous backup. stop: why a person must look before anything is deleted; empty: nobody must.

    in_short: how many paths are treated how. gone: the first that are no longer there, or cannot be read.
    """

    stop: str
    in_short: str
    gone: tuple[str, ...]


class FilesAccess(Access):
    """See `connections.base.Access`."""

    engine = FilesEngine()
    settings: FilesSource

    @property
    def options(self) -> FilesOptions:
        """The choices of its backups."""
        guard = self.settings.delete_guard
        return FilesOptions(
            DeleteLimits(guard.share, guard.number),
            self.settings.rehash_every,
            self.settings.storage_class,
            self.settings.streams,
        )

    def source(self) -> LiveFiles:
        """Return the live tree, bound to its directory or bucket."""
        if bucket := self.settings.bucket:
            store = other_bucket(self.config, bucket, f"sources.yaml: sources.{self.name}.bucket.connection")
            tree: Tree = BucketTree(store, bucket.replication or "")
        else:
            tree = DirectoryTree(Path(self.settings.directory or "/nowhere"))
        return LiveFiles(tree, self.options)

    def copy(
        self, origin: Catalog, target: Catalog, manifest: Manifest, cancellation: Cancellation, *, anew: bool = False
    ) -> bool:
        """Copy the contents of a backup, and seal a manifest of the same id there; False when it existed already."""
        with self.codec(cancellation) as codec:
            return copy_files(
                BackupReader(origin.store, manifest, codec), target, self.options, cancellation, anew=anew
            )

    def remove_unnamed(self, catalog: Catalog, now: datetime) -> int | None:
        """Remove the versions of files that no backup names any more; return how many."""
        return remove_unnamed(catalog, self.name, self.config.sweep.grace, now).versions

    def scan(self, backup_id: str, cancellation: Cancellation) -> Scan:
        """Compare the tree with its previous backup, and leave the plan of a new one in the repository."""
        store, source = self.catalog().store, self.source()
        with self.codec(cancellation) as codec:
            draft = source.scan(BackupWriter(store, self.name, backup_id, codec), cancellation)
        leave(store, SCANNED, draft)
        found = ScanDetails.of(draft)
        in_short = ", ".join(f"{word} {found.plan[word]:,}" for word in map(str, Action) if word in found.plan)
        return Scan(reason_to_stop(losses(draft), self.options.limits), in_short, found.gone)

    def sync(self, backup_id: str, cancellation: Cancellation) -> None:
        """Do what `scan` has planned; leave the manifest for `seal`."""
        store = self.catalog().store
        draft = take(store, SCANNED, self.name, backup_id)
        with self.codec(cancellation) as codec:
            writer = BackupWriter(store, self.name, backup_id, codec)
            leave(store, SYNCED, self.source().sync(writer, draft, cancellation))

    def seal(self, backup_id: str) -> tuple[Manifest, str]:
        """Make what `sync` has left a backup; return its manifest, and what it did, in words. Can be repeated."""
        manifest = seal(self.catalog().store, self.name, backup_id)
        return manifest, in_words(manifest)

    def versions(self, order: Sequence[str], path: str) -> tuple[str, list[FileVersion]]:
        """List the versions of a file or folder in the first of these repositories that answers; return its name, too.

        Raises RestoreError when it has none.
        """
        return Repositories(self.config).first(order, lambda catalog: versions_of(catalog.store, self.name, path))

    def backup_with(self, order: Sequence[str], path: str, version: str) -> tuple[str, str]:
        """Find the first repository that knows a file in this version; return its name, and the newest backup's id.

        Raises RestoreError when none does: each repository has versions of its own.
        """
        return Repositories(self.config).first(order, lambda catalog: backup_with(catalog, self.name, path, version))

    def in_place(self, path: str = "", without: Sequence[str] = (), *, overwrite_newer: bool = False) -> Destination:
        """Return the directory of the source itself. path, without: as of `new_place`.

        overwrite_newer: also replace files that were written after the backup. Raises ConfigError for a bucket,
        RestoreError when the directory is gone.
        """
        directory = self.settings.directory
        if directory is None:
            raise ConfigError(
                f"The source {self.name!r} is a bucket: its files cannot be restored in place.",
                "Restore them into a new directory, and copy them from there.",
            )
        try:
            there = Path(directory).is_dir()
        except PermissionError:
            there = False
        if not there:
            raise RestoreError(
                f"The directory {directory} of {self.name} is not there on {platform.node()}, or not to be seen.",
                "Mount it, or make it (empty) when it was deleted, and clear this task; or take a new directory.",
            )
        return InPlace(Path(directory), path.encode(), self.settings.streams, without, overwrite_newer)

    def new_place(self, target: str, name: str, path: str = "", without: Sequence[str] = ()) -> Destination:
        """Return the directory, or the folder in a bucket, of this name on a target; it is not made yet.

        path: a file, a folder, or empty for everything. without: what is left out. Raises ConfigError when the target
        is no place for files.
        """
        settings, streams = self.config.target(target), self.settings.streams
        if settings.engine != self.settings.engine:
            raise ConfigError(
                f"The target {target!r} is no place for files.", "Name one whose engine is files in targets.yaml."
            )
        if settings.bucket:
            named_by = f"targets.yaml: targets.{target}.bucket.connection"
            store = other_bucket(self.config, settings.bucket, named_by, name)
            return NewFolder(store, path.encode(), streams, without)
        siblings = (one for one in self.config.sources.values() if one.engine == self.settings.engine)
        protected = [Path(one.directory) for one in siblings if one.directory]
        base = Path(settings.directory or "/nowhere")
        return NewDirectory(ScratchDirectory(base, name, protected, path.encode(), streams, without))
