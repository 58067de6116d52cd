"""The destinations of restored files: a new directory, a new folder of a bucket, or the source itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backup_playbook.engines.destination import Compared, Destination, FilesPlan
from backup_playbook.engines.files.outlook import plan_in_place, plan_new
from backup_playbook.engines.files.place import Place
from backup_playbook.engines.files.restore import FilesRestore
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.to_bucket import BucketRestore
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation


@dataclass(frozen=True)
class NewDirectory:
    """A new directory. See `engines.destination.Destination`."""

    scratch: ScratchDirectory

    @property
    def address(self) -> str:
        """Return the place of the files, for people."""
        return str(self.scratch.root)

    def plan(self, reader: BackupReader, cancellation: Cancellation) -> FilesPlan:  # noqa: ARG002 - a list is read
        """Look at what will come back."""
        return plan_new(reader, self.scratch.path, tuple(self.scratch.without), self.address, in_bucket=False)

    def restore(self, reader: BackupReader, cancellation: Cancellation, counts: Counter[str]) -> None:
        """Bring the files back."""
        self.scratch.drop()  # what an earlier try of this run left: the name is the run's own
        self.scratch.create(reader.manifest)
        self.scratch.restore(reader, cancellation, counts)

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Compared:
        """Compare what is there with the backup."""
        proof = self.scratch.prove(reader, cancellation)
        whole = not self.scratch.path and not self.scratch.without
        return Compared({"paths": proof.schema_objects}, proof.left_out, whole)


@dataclass(frozen=True)
class NewFolder:
    """A new folder of a bucket. It has no links and attributes. See `engines.destination.Destination`."""

    store: ObjectStore
    path: bytes
    files_at_once: int
    without: Sequence[str]

    @property
    def address(self) -> str:
        """Return the place of the files, for people."""
        return self.store.url

    def plan(self, reader: BackupReader, cancellation: Cancellation) -> FilesPlan:  # noqa: ARG002 - a list is read
        """Look at what will come back."""
        return plan_new(reader, self.path, self.without, self.address, in_bucket=True)

    def restore(self, reader: BackupReader, cancellation: Cancellation, counts: Counter[str]) -> None:
        """Bring the files back."""
        self._work(reader, cancellation, counts).run()

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Compared:
        """Compare what is there with the backup."""
        return Compared(dict(self._work(reader, cancellation, Counter()).prove()))

    def _work(self, reader: BackupReader, cancellation: Cancellation, counts: Counter[str]) -> BucketRestore:
        return BucketRestore(reader, self.store, cancellation, self.path, self.files_at_once, self.without, counts)


@dataclass(frozen=True)
class InPlace:
    """The directory of the source itself, where people work. See `engines.destination.Destination`."""

    root: Path
    path: bytes
    files_at_once: int
    without: Sequence[str]
    overwrite_newer: bool

    @property
    def address(self) -> str:
        """Return the place of the files, for people."""
        return str(self.root)

    def plan(self, reader: BackupReader, cancellation: Cancellation) -> FilesPlan:
        """Look at what will come back."""
        with self._work(reader, cancellation, Counter()) as work:
            return plan_in_place(work)

    def restore(self, reader: BackupReader, cancellation: Cancellation, counts: Counter[str]) -> None:
        """Bring the files back."""
        with self._work(reader, cancellation, counts) as work:
            work.run()

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Compared:
        """Compare what is there with the backup."""
        with self._work(reader, cancellation, Counter()) as work:
            return Compared(dict(work.prove()))

    @contextmanager
    def _work(self, reader: BackupReader, cancellation: Cancellation, counts: Counter[str]) -> Iterator[FilesRestore]:
        aside = f".replaced-{reader.manifest.backup_id}/".encode()
        with Place(self.root, set_aside=aside) as place:
            yield FilesRestore(
                reader,
                place,
                cancellation,
                self.path,
                overwrite_newer=self.overwrite_newer,
                files_at_once=self.files_at_once,
                without=self.without,
                counts=counts,
            )


if TYPE_CHECKING:
    _destinations: tuple[type[Destination], ...] = (NewDirectory, NewFolder, InPlace)
