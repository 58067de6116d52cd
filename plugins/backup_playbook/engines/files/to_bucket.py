"""Restore of files into a bucket, with the headers of a former bucket, without links, folders and attributes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property

from botocore.exceptions import ClientError

from backup_playbook.core.errors import RepositoryError, UnequalError
from backup_playbook.core.tree import Entry, key_of, unsafe
from backup_playbook.core.words import counted
from backup_playbook.engines.files.batches import batches
from backup_playbook.engines.files.contents import KEY_REFUSED
from backup_playbook.engines.files.place import PathError
from backup_playbook.engines.files.shards import below, left_out, resolve
from backup_playbook.engines.files.unrestored import PROBLEMS_TOLD, Unrestored
from backup_playbook.engines.files.verify import fault_of, verified
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.s3errors import code_of
from backup_playbook.repository.small_objects import SMALL_BYTES, SmallObjects
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.upload import first_part_bytes, upload
from backup_playbook.streams.processes import Cancellation

BATCH = 500
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class BucketRestore:
    """Restore of a backup, or a part of it, into a new bucket or prefix. Its verbs may be called again.

    store: the place. path, without, counts: see FilesRestore.
    """

    reader: BackupReader
    store: ObjectStore
    cancellation: Cancellation
    path: bytes = b""
    files_at_once: int = 8
    without: Collection[str] = ()
    counts: Counter[str] = field(default_factory=Counter)

    @cached_property
    def _stored(self) -> SmallObjects:
        return SmallObjects(self.reader.store)

    @cached_property
    def _restored(self) -> SmallObjects:
        return SmallObjects(self.store)

    @cached_property
    def _wanted(self) -> bytes:
        return resolve(self.reader, self.path)

    def run(self) -> Counter[str]:
        """Restore; count restored files, and folders and links that were left out.

        Raises at the end VerificationError for contents that are not as backed up, and RestoreError for names that are
        no keys here; RepositoryError when the store can take none.
        """
        self.counts.clear()
        lost = Unrestored(self.reader)
        self.counts.update(self._each(lambda entry: lost.attempt(self._restore, entry), lost))
        lost.refuse(self.store.url)
        return self.counts

    def prove(self) -> Counter[str]:
        """Read everything back, and compare it with the backup. Raises UnequalError, RepositoryError."""
        problems: list[str] = []

        def prove(entry: Entry) -> str:
            self.cancellation.check()
            if entry.stored and (problem := fault_of(lambda: verified(self._restored, _key(entry), entry, version=""))):
                problems.append(f"{entry.name}: {problem}")
            return "files" if entry.stored else LEFT_OUT

        counts = self._each(prove)
        if problems:
            raise UnequalError(
                f"Not as backed up in {self.store.url}: {counted(len(problems), 'path')}: " + " | ".join(problems[:5]),
                "Restore into a new place, and look at the store of the target.",
                tuple(problems[:PROBLEMS_TOLD]),
            )
        return counts

    def _each(self, work: Callable[[Entry], str], lost: Unrestored | None = None) -> Counter[str]:
        counts: Counter[str] = Counter()
        found = below(self.reader, self._wanted, lost.shard if lost else None)
        without = left_out(self.reader, self.without)
        wanted = (entry for entry in found if not without(entry))
        with ThreadPoolExecutor(self.files_at_once, thread_name_prefix="bucket") as threads:
            for entries in batches(wanted, BATCH):
                self.cancellation.check()
                counts.update(threads.map(work, entries))
        return counts

    def _restore(self, entry: Entry) -> str:
        if not entry.stored:
            return LEFT_OUT
        self.cancellation.check()
        key = _key(entry)
        content = verified(self._stored, key_of(self.reader.manifest.source, entry), entry)
        if entry.size <= SMALL_BYTES:
            body = b"".join(content)
            with _refusals(entry):
                self._with_headers(entry).put(key, body)
        else:
            with _refusals(entry):
                upload(self._with_headers(entry), key, content, first_part=first_part_bytes(entry.size))
        return "files"

    def _with_headers(self, entry: Entry) -> ObjectStore:
        """Return the store that adds an object's former content type, metadata and tags."""
        if not entry.object_headers:
            return self.store
        options = replace(self.store.options, fields=entry.object_headers)
        return ObjectStore(
            self.store.client, bucket=self.store.bucket, prefix=self.store.prefix, name=self.store.name, options=options
        )


def _key(entry: Entry) -> str:
    """Return the key. Raises PathError for one that not every client can read back from a listing."""
    with contextlib.suppress(UnicodeDecodeError):
        if not unsafe(entry.path):
            return entry.path.decode()
    raise PathError(
        f"No bucket can hold {entry.name!r} so that every client takes it for the same key.",
        "Restore it into a directory, or fetch it.",
    )


@contextlib.contextmanager
def _refusals(entry: Entry) -> Iterator[None]:
    """Raise PathError for a key that this store does not take: a file system is below, or it is too long."""
    try:
        yield
    except RepositoryError as error:
        if not isinstance(error.__cause__, ClientError) or code_of(error.__cause__) not in KEY_REFUSED:
            raise
        raise PathError(f"{entry.name!r} is no key for this store: {error.what}", "Restore it into another.") from error
