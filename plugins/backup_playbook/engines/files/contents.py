"""The content of one file into the bucket: nothing when it is there already, a copy by the store after a rename."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeVar

from botocore.exceptions import ClientError

from backup_playbook.core.errors import RepositoryError
from backup_playbook.core.tree import Entry, Outcome, key_of
from backup_playbook.engines.files.plan import Identity, identity
from backup_playbook.engines.files.trees import Tree, why_unreadable
from backup_playbook.repository.quick import SMALL_BYTES, QuickRequests
from backup_playbook.repository.s3errors import code_of
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.upload import Uploaded, first_part_bytes, upload
from backup_playbook.repository.versions import Version, copy_version
from backup_playbook.streams.blocks import Blocks, Digest, drain, tap
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")

COPIED_BYTES = 5 << 30
"""S3 copies no larger object in one request."""
KEY_REFUSED = frozenset({"ObjectParentIsFile", "ExistingObjectIsDirectory", "KeyTooLongError"})
"""By a store over a file system, where S3 would take it: `a/b` beside a version of `a`, long names."""


class How(StrEnum):
    """What was done for a file."""

    UPLOADED = "uploaded"
    COPIED = "renamed"
    SAME = "same"
    """It was read, and is what is stored."""
    SILENT = "silently_changed"
    """Uploaded: another content at the same size, time and inode. A failing disk, or somebody who hides."""
    UNREAD = "unread"
    GONE = "gone"


@dataclass(frozen=True)
class Contents:
    """Stores contents for one backup, from several threads. renamed: files that vanished, by identity.

    anew: nothing that is stored already is relied on. aside: the current state stays as it is: contents go where it
    does not show them, under the hashes of their paths, where each is only ever read by its version.
    """

    tree: Tree
    store: ObjectStore
    source: str
    backup_id: str
    renamed: Mapping[Identity, Entry]
    cancellation: Cancellation
    anew: bool = False
    aside: bool = False

    def keep(self, now: Entry, old: Entry | None) -> tuple[Entry, How]:
        """old: the path in the previous backup. Returns the entry with its content's place.

        Raises RepositoryError.
        """
        self.cancellation.check()
        good = None if self.anew else old
        try:
            if old is None and (copied := self._copy(now)):
                return copied, How.COPIED
            kept = self._small(now, good) if now.size <= SMALL_BYTES else self._large(now, good)
        except FileNotFoundError:
            return now, How.GONE
        except OSError as error:
            return unread(now, old, why_unreadable(error)), How.UNREAD
        if good and kept.version == good.version:
            return kept, How.SAME
        return kept, How.SILENT if good and good.stored and now.same_content(good) else How.UPLOADED

    @cached_property
    def _quick(self) -> QuickRequests:
        return QuickRequests(self.store)

    def _copy(self, now: Entry) -> Entry | None:
        known = identity(now)
        origin = self.renamed.get(known) if known else None
        if origin is None or origin.size > COPIED_BYTES or now.sha256 not in ("", origin.sha256):
            return None
        place = Version(key_of(self.source, origin), origin.version)
        try:
            kept, version = self._at_key(now, lambda key: copy_version(self.store, place, key))
        except RepositoryError:
            return None  # it is uploaded instead, and says better what is wrong
        # what was one copy has one checksum
        return kept.with_content_of(origin)._replace(
            hashed_key=kept.hashed_key, version=version, added=self.backup_id, parts=0, checksum=""
        )

    def _small(self, now: Entry, old: Entry | None) -> Entry:
        found, body = self.tree.read(now, _small_body)
        if body is None:
            return self._large(now, old)  # it has grown since the scan
        digest = hashlib.sha256(body).hexdigest()
        if old and old.sha256 == digest:
            return found.with_content_of(old)
        try:
            kept, version = self._at_key(found, lambda key: self._quick.put(key, body))
        except OSError as error:  # of credentials that cannot be read, say: not of the file
            raise RepositoryError(
                f"Cannot write {self.store.url}/{key_of(self.source, found)}: {error}.",
                "Look at the credentials of the repository's connection on this worker.",
            ) from error
        return kept._replace(size=len(body), sha256=digest, version=version, added=self.backup_id, parts=0, checksum="")

    def _large(self, now: Entry, old: Entry | None) -> Entry:
        if old and old.stored and now.size == old.size:
            found, digest = self.tree.read(now, self._digest)
            if digest == old.sha256:
                return found.with_content_of(old)
        first_part = first_part_bytes(now.size)

        def send(key: str) -> tuple[Entry, Uploaded]:
            return self.tree.read(
                now, lambda blocks: upload(self.store, key, self._watched(blocks), first_part=first_part)
            )

        kept, (found, stored) = self._at_key(now, send)
        composite = "-" in (stored.store_checksum or "")
        return found._replace(
            hashed_key=kept.hashed_key, size=stored.bytes, sha256=stored.sha256, version=stored.version,
            added=self.backup_id, parts=first_part, checksum=(stored.store_checksum or "") if composite else "",
        )  # fmt: skip

    def _at_key(self, entry: Entry, send: Callable[[str], T]) -> tuple[Entry, T]:
        """Under the path, or, where that cannot be a key, under its hash."""
        if entry.natural_key and not self.aside:
            entry = entry._replace(hashed_key=False)
            try:
                return entry, send(key_of(self.source, entry))
            except RepositoryError as error:
                if not isinstance(error.__cause__, ClientError) or code_of(error.__cause__) not in KEY_REFUSED:
                    raise
        entry = entry._replace(hashed_key=True)
        return entry, send(key_of(self.source, entry))

    def _watched(self, blocks: Blocks) -> Blocks:
        return tap(blocks, lambda _: self.cancellation.check())

    def _digest(self, blocks: Blocks) -> str:
        digest = Digest()
        drain(tap(self._watched(blocks), digest.update))
        return digest.sha256


def _small_body(blocks: Blocks) -> bytes | None:
    """None for what is larger than SMALL_BYTES, of which no more than that is read."""
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > SMALL_BYTES:
            return None
    return bytes(body)


def unread(now: Entry, old: Entry | None, reason: str) -> Entry:
    """What is known of a file that cannot be read: what an earlier backup stored of it."""
    known = old if old and old.stored else now
    return now.with_content_of(known)._replace(outcome=Outcome.UNREADABLE.value, reason=reason)
