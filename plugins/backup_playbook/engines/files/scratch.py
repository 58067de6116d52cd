"""A new directory as the target of one restore."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backup_playbook.core.errors import GuardError, RestoreError, VerificationError
from backup_playbook.core.holdings import counted
from backup_playbook.core.model import Manifest
from backup_playbook.core.progress import human_bytes
from backup_playbook.core.proof import Proof
from backup_playbook.core.tree import merge
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.place import Place
from backup_playbook.engines.files.restore import FilesRestore
from backup_playbook.engines.files.shards import below
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

EXTRAS_TOLD = 100


@dataclass(frozen=True)
class ScratchDirectory:
    """`name` below `base`. See `engines.contract.Target`. protected: the directories of all sources.

    path: what is restored of a backup; see FilesRestore.
    """

    base: Path
    name: str
    protected: Sequence[Path] = field(default=())
    path: bytes = b""
    files_at_once: int = 8

    @property
    def root(self) -> Path:
        return self.base / self.name

    @property
    def label(self) -> str:
        return f"the directory {self.root}"

    def create(self, manifest: Manifest) -> None:
        self._guard()
        if not self.base.is_dir():
            raise RestoreError(
                f"There is no directory {self.base} on this worker.",
                "Make it, or correct `directory` of this target in targets.yaml.",
            )
        needed, free = int(manifest.details["bytes"]), shutil.disk_usage(self.base).free
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

    def restore(self, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        self._guard()
        cancellation.check()
        if any(self.root.iterdir()):
            raise RestoreError(f"{self.root} is not empty.", "Remove it, and clear the step that makes it.")
        started = time.monotonic()
        with Place(self.root) as place:
            self._work(reader, place, cancellation).run()
        return {"files": round(time.monotonic() - started, 2)}

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Proof:
        with Place(self.root) as place:
            counts = self._work(reader, place, cancellation).prove()
        if not self.path:
            self._refuse_extras(reader, cancellation)
        left_out = tuple(entry.name for entry in below(reader, self.path) if entry.outcome and not entry.stored)
        return Proof((), 0, 0, schema_objects=counts.total(), left_out=left_out)

    def drop(self) -> None:
        self._guard()
        if self.root.exists():
            shutil.rmtree(self.root)

    def _work(self, reader: BackupReader, place: Place, cancellation: Cancellation) -> FilesRestore:
        # nobody works here: what is newer than the backup is wrong
        return FilesRestore(
            reader, place, cancellation, self.path, overwrite_newer=True, files_at_once=self.files_at_once
        )

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
            raise VerificationError(
                f"{self.root} has {counted(len(extras), 'path')} that the backup has not, first {extras[0]}.",
                "Somebody works in that directory: restore into a new one.",
                tuple(extras[:EXTRAS_TOLD]),
            )

    def _guard(self) -> None:
        """Also through links: what counts is where the directory really is."""
        if self.name in ("", ".", "..") or "/" in self.name:
            raise GuardError(f"{self.name!r} is no name of a directory.", "Nothing was touched; report it.")
        base = self.base.resolve()
        for source in (path.resolve() for path in self.protected):
            if base.is_relative_to(source) or (base / self.name) in (source, *source.parents):
                raise GuardError(
                    f"{self.root} is in {source}, which is backed up: a restore there would touch what is live.",
                    "Nothing was touched. Give the target a `directory` outside of all sources in targets.yaml.",
                )
