"""The contract of places that files are restored into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation


class FilesPlan(NamedTuple):
    """Outlook of a restore. in_short: a sentence without its end. lines: Markdown."""

    in_short: str
    lines: list[str]


class Compared(NamedTuple):
    """Paths that were compared with the backup, and are equal. counts: by kind. missing: what is not there, in words.

    whole: everything of a backup was compared, contents and attributes.
    """

    counts: dict[str, int]
    missing: Sequence[str] = ()
    whole: bool = False


class Destination(Protocol):
    """The place that the files of one backup, or some of them, go to. Its verbs may be called by different workers."""

    @property
    def address(self) -> str:
        """Return the place of the files, for people."""
        ...

    def plan(self, reader: BackupReader, cancellation: Cancellation) -> FilesPlan:
        """Look at what will come back. Changes nothing. Raises RestoreError for a path that the backup has not."""
        ...

    def restore(self, reader: BackupReader, cancellation: Cancellation, counts: Counter[str]) -> None:
        """Bring the files back. counts: of what is done, also when not all could be. Can be repeated.

        Raises RestoreError, and VerificationError for what is damaged, both when all else is there.
        """
        ...

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Compared:
        """Read everything again, and compare it with the backup. Raises UnequalError."""
        ...
