"""Access to a source of files: a directory or a bucket."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from backup_playbook.config import FilesSource
from backup_playbook.connections.base import Access
from backup_playbook.connections.s3 import other_bucket
from backup_playbook.core.errors import ConfigError, RestoreError
from backup_playbook.core.files_guard import DeleteLimits
from backup_playbook.core.model import Manifest
from backup_playbook.engines.files.bucket import BucketTree
from backup_playbook.engines.files.copies import copy_files
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.retention import remove_unnamed
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.source import FilesOptions
from backup_playbook.engines.files.source import FilesSource as LiveFiles
from backup_playbook.engines.files.trees import Tree
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation


class FilesAccess(Access[FilesSource]):
    """See `connections.base.Access`."""

    engine = FilesEngine()

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
        if bucket := self.settings.bucket:
            store = other_bucket(self.config, bucket, f"sources.yaml: sources.{self.name}.bucket.connection")
            tree: Tree = BucketTree(store, bucket.replication or "")
        else:
            tree = DirectoryTree(Path(self.settings.directory or "/nowhere"))
        return LiveFiles(tree, self.options)

    def copy(
        self, origin: Catalog, target: Catalog, manifest: Manifest, cancellation: Cancellation, *, anew: bool = False
    ) -> bool:
        with self.codec(cancellation) as codec:
            return copy_files(
                BackupReader(origin.store, manifest, codec), target, self.options, cancellation, anew=anew
            )

    def remove_unnamed(self, catalog: Catalog, now: datetime) -> int | None:
        return remove_unnamed(catalog, self.name, self.config.sweep.grace, now).versions

    def live_directory(self) -> Path:
        """Return the directory of the source itself. Raises ConfigError for a bucket, RestoreError when it is gone."""
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
        return Path(directory)

    def new_place(
        self, target: str, name: str, path: bytes = b"", leave_out: Sequence[str] = ()
    ) -> ScratchDirectory | ObjectStore:
        """Return the directory, or the folder in a bucket, of this name on a target; it is not made yet.

        path, leave_out: what is restored there. Raises ConfigError when the target is no place for files.
        """
        settings = self.config.target(target)
        if settings.engine != self.settings.engine:
            raise ConfigError(
                f"The target {target!r} is no place for files.", "Name one whose engine is files in targets.yaml."
            )
        if settings.bucket:
            return other_bucket(self.config, settings.bucket, f"targets.yaml: targets.{target}.bucket.connection", name)
        siblings = (one for one in self.config.sources.values() if one.engine == self.settings.engine)
        protected = [Path(one.directory) for one in siblings if one.directory]
        base = Path(settings.directory or "/nowhere")
        return ScratchDirectory(base, name, protected, path, self.settings.streams, leave_out)
