"""Restoring files into a bucket: their contents; links, folders and attributes have no place there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.holdings import counted
from backup_playbook.core.tree import Entry, key_of
from backup_playbook.engines.files.batches import batches
from backup_playbook.engines.files.shards import below
from backup_playbook.engines.files.verify import verified
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.quick import SMALL_BYTES, QuickRequests
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.upload import first_part_bytes, upload
from backup_playbook.streams.blocks import drain
from backup_playbook.streams.processes import Cancellation

BATCH = 500
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class BucketRestore:
    """store: the place, new for this restore. path: as for FilesRestore. Its verbs may be called again."""

    reader: BackupReader
    store: ObjectStore
    cancellation: Cancellation
    path: bytes = b""
    files_at_once: int = 8
    _nameless: list[str] = field(default_factory=list)

    @cached_property
    def _stored(self) -> QuickRequests:
        return QuickRequests(self.reader.store)

    @cached_property
    def _restored(self) -> QuickRequests:
        return QuickRequests(self.store)

    def run(self) -> Counter[str]:
        """Returns how many files were restored, and how many folders and links were left out.

        Raises VerificationError for a content that is not what was backed up, RepositoryError, and RestoreError, at the
        end, for files whose names are no keys.
        """
        counts = self._each(self._restore)
        if self._nameless:
            raise RestoreError(
                f"No bucket can hold {counted(len(self._nameless), 'file')} under a name that every client reads back, "
                f"first {self._nameless[0]!r}. All others are in {self.store.url}.",
                "Restore these into a directory, one by one or with their folder: for what cannot be there either "
                "(a//b, say) the log has a command that fetches it.",
            )
        return counts

    def prove(self) -> Counter[str]:
        """Read everything back, and compare it with the backup. Raises VerificationError, RepositoryError."""
        return self._each(self._prove)

    def _each(self, work: Callable[[Entry], str]) -> Counter[str]:
        counts: Counter[str] = Counter()
        with ThreadPoolExecutor(self.files_at_once, thread_name_prefix="bucket") as threads:
            for entries in batches(below(self.reader, self.path), BATCH):
                self.cancellation.check()
                counts.update(threads.map(work, entries))
        return counts

    def _restore(self, entry: Entry) -> str:
        if not entry.stored:
            return LEFT_OUT
        if not entry.natural_key:
            self._nameless.append(entry.name)
            return LEFT_OUT
        self.cancellation.check()
        content = verified(self._stored, key_of(self.reader.manifest.source, entry), entry)
        if entry.size <= SMALL_BYTES:
            self.store.put(entry.path.decode(), b"".join(content))
        else:
            upload(self.store, entry.path.decode(), content, first_part=first_part_bytes(entry.size))
        return "files"

    def _prove(self, entry: Entry) -> str:
        if not (entry.stored and entry.natural_key):
            return LEFT_OUT
        self.cancellation.check()
        drain(verified(self._restored, entry.path.decode(), entry, version=""))
        return "files"
