"""A bucket as a tree: what is in it now, each object by its version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from backup_playbook.core.errors import RepositoryError, SourceError
from backup_playbook.core.tree import Entry, FileType, Outcome, unsafe
from backup_playbook.repository.listing import ListedVersion
from backup_playbook.repository.replication import require_replication
from backup_playbook.repository.s3errors import is_missing
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import list_versions, require_versioning
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")


@dataclass(frozen=True)
class BucketTree:
    """The bucket must keep versions: then what is read is what was listed, whoever writes meanwhile.

    replica: the bucket that its own rules must replicate it to; empty: that is not looked at.
    """

    store: ObjectStore
    replica: str = ""

    @property
    def details(self) -> dict[str, Any]:
        return {"bucket": self.store.url}

    def scan(self, cancellation: Cancellation) -> Iterator[Entry]:
        try:
            require_versioning(self.store, "what is read would not be what was listed")
            if self.replica:
                require_replication(self.store, self.replica)
            for item in list_versions(self.store, ""):
                cancellation.check()
                if item.latest and not item.deleted and item.path:
                    yield _entry(item)
        except RepositoryError as error:
            raise SourceError(f"The source {self.store.url} cannot be read: {error.what}", error.remedy) from error

    def read(self, entry: Entry, consume: Callable[[Blocks], T]) -> tuple[Entry, T]:
        try:
            return entry, consume(self.store.read(entry.path.decode(), entry.etag))
        except RepositoryError as error:
            if is_missing(error):
                raise FileNotFoundError(error.what) from error
            raise


def _entry(item: ListedVersion) -> Entry:
    is_folder = item.path.endswith("/") and not item.bytes
    path = item.path.encode()
    nameless = unsafe(path)
    return Entry(
        path=path,
        type=(FileType.DIRECTORY if is_folder else FileType.FILE).value,
        size=item.bytes,
        mtime_ns=int(item.modified.timestamp()) * 10**9,
        mode=0o755 if is_folder else 0o644,
        etag=item.version,
        outcome=Outcome.NAMELESS.value if nameless else "",
        reason="no directory can hold this key, and S3 clients take it for another one: rename it" if nameless else "",
    )
