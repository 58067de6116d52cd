"""A new directory as the target of one restore."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backup_playbook.core.errors import GuardError, RestoreError, UnequalError
from backup_playbook.core.model import Manifest
from backup_playbook.core.progress import human_bytes
from backup_playbook.core.proof import Proof
from backup_playbook.core.tree import merge
from backup_playbook.core.words import counted
from backup_playbook.engines.files.details import FilesDetails
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.place import Place
from backup_playbook.engines.files.restore import WITHOUT_XATTRS, FilesRestore
from backup_playbook.engines.files.shards import below, resolve
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

EXTRAS_TOLD = 100


@dataclass(frozen=True)
class ScratchDirectory:
    """The directory `name` below `base`. See `engines.contract.Target`. protected: the directories of all sources.

    path, without: the part of a backup that is restored; see FilesRestore.
    """

    base: Path
    name: str
    protected: Sequence[Path] = field(default=())
    path: bytes = b""
    files_at_once: int = 8
    without: Collection[str] = ()

    @property
    def root(self) -> Path:
        """The directory itself."""
        return self.base / self.name

    @property
    def label(self) -> str:
        """Name in messages."""
        return f"the directory {self.root}"

    def create(self, manifest: Manifest) -> None:
        """Make the directory. Raises RestoreError when it exists, or the disk is too full."""
        self._guard()
        if not self.base.is_dir():
            raise RestoreError(
                f"There is no directory {self.base} on this worker.",
                "Make it, or correct `directory` of this target in targets.yaml.",
            )
        needed, free = FilesDetails.of(manifest).bytes, shutil.disk_usage(self.base).free
        if not self.path and needed > free:
            raise RestoreError(
                f"{self.base} has {human_bytes(free)} free, and the backup has {human_bytes(needed)}.",
                "Free some space, restore a part, or restore into another target.",
            )
        try:
            self.root.mkdir(mode=0o700)
        except FileExistsError:
            raise RestoreError(
                f"{self.root} exists already.", "Start a new run: each has a place of its own."
            ) from None
        except OSError as error:
            raise RestoreError(
                f"{self.root} cannot be made: {error.strerror}.",
                f"Let the user of this worker write to {self.base}, or name another `directory` in targets.yaml.",
            ) from error

    def restore(
        self, reader: BackupReader, cancellation: Cancellation, counts: Counter[str] | None = None
    ) -> dict[str, float]:
        """Fill the directory; return seconds by phase. counts: filled also when not all could be restored."""
        self._guard()
        cancellation.check()
        if any(self.root.iterdir()):
            raise RestoreError(f"{self.root} is not empty.", "Remove it, and clear the step that makes it.")
        started = time.monotonic()
        with Place(self.root) as place:
            self._work(reader, place, cancellation, Counter() if counts is None else counts).run()
        return {"files": round(time.monotonic() - started, 2)}

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Proof:
        """Compare the directory with the backup."""
        with Place(self.root) as place:
            whole = not self.path and not self.without
            counts = self._work(reader, place, cancellation, Counter()).prove(
                lambda: self._refuse_extras(reader, cancellation) if whole else None
            )
        entries = below(reader, resolve(reader, self.path))
        left_out = tuple(entry.name for entry in entries if entry.outcome and not entry.stored)
        bare = counts[WITHOUT_XATTRS]
        more = [f"extended attributes (ACLs, say) of {counted(bare, 'path')}"] if bare else []
        return Proof((), 0, 0, schema_objects=counts.total(), left_out=(*left_out, *self.without, *more))

    def drop(self) -> None:
        """Remove the directory, if it is there."""
        self._guard()
        if not self.root.exists():
            return
        try:
            if os.geteuid() != 0:  # as they are restored, not all folders let their owner remove what is in them
                for folder, below_it, _ in os.walk(self.root):
                    for path in (Path(folder, name) for name in below_it):
                        if not path.is_symlink():
                            path.chmod(stat.S_IRWXU)
            shutil.rmtree(self.root)
        except OSError as error:
            raise RestoreError(
                f"{self.root} cannot be removed: {error}.",
                "Look whether something there is immutable (lsattr) or in use, remove it, and clear this task.",
            ) from error

    def _work(
        self, reader: BackupReader, place: Place, cancellation: Cancellation, counts: Counter[str]
    ) -> FilesRestore:
        # nobody works here: what is newer than the backup is wrong
        return FilesRestore(
            reader, place, cancellation, self.path,
            overwrite_newer=True, files_at_once=self.files_at_once, without=self.without, counts=counts,
        )  # fmt: skip

    def _refuse_extras(self, reader: BackupReader, cancellation: Cancellation) -> None:
        paired = merge(
            DirectoryTree(self.root).scan(cancellation),
            below(reader, b""),
            left_path=lambda one: one.path,
            right_path=lambda one: one.path,
        )
        extras: list[str] = []
        for found, known in paired:
            if found and not known:
                extras.append(found.name)
            # a bucket names no folders: what is below one makes it known
            while known and extras and extras[-1].endswith("/") and known.name.startswith(extras[-1]):
                extras.pop()
        if extras:
            raise UnequalError(
                f"{self.root} has {counted(len(extras), 'path')} that the backup has not, first {extras[0]}.",
                "Somebody works in that directory: restore into a new one.",
                tuple(extras[:EXTRAS_TOLD]),
            )

    def _guard(self) -> None:
        """Raise GuardError when the directory, links resolved, is within a source or holds one."""
        if self.name in ("", ".", "..") or "/" in self.name:
            raise GuardError(f"{self.name!r} is no name of a directory.", "Nothing was touched; report it.")
        base = self.base.resolve()
        for source in (path.resolve() for path in self.protected):
            if base.is_relative_to(source) or (base / self.name) in (source, *source.parents):
                raise GuardError(
                    f"{self.root} is in {source}, which is backed up: a restore there would touch what is live.",
                    "Nothing was touched. Give the target a `directory` outside of all sources in targets.yaml.",
                )
