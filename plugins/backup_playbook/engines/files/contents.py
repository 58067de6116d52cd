"""Upload of one file's content, unless it is there already, or the store copies it after a rename."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, TypeVar

from botocore.exceptions import ClientError

from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.tree import Entry, Outcome, key_of
from backup_playbook.engines.files.plan import Action, Identity, Step, identity
from backup_playbook.engines.files.trees import Tree, why_unreadable
from backup_playbook.engines.files.verify import fault_of, verified
from backup_playbook.repository.s3errors import code_of, is_missing
from backup_playbook.repository.small_objects import SMALL_BYTES, SmallObjects
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.upload import Uploaded, first_part_bytes, upload
from backup_playbook.repository.versions import NO_VERSIONS, Version, copy_version
from backup_playbook.streams.blocks import Blocks, drain, sha256_of, tap
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")

COPIED_BYTES = 5 << 30
"""S3 copies no larger object in one request."""
KEY_REFUSED = frozenset({
    "ObjectParentIsFile", "ExistingObjectIsDirectory", "DirectoryObjectContainsData", "KeyTooLongError",
    "XMinioParentIsObject", "XMinioInvalidObjectName",
})  # fmt: skip
"""Refusals by a store over a file system of keys that S3 takes: `a/b` beside a version of `a`, long names."""


class How(StrEnum):
    """Treatment of a file."""

    UPLOADED = "uploaded"
    COPIED = "renamed"
    SAME = "same"
    """Read, and equal to what is stored."""
    SILENT = "silently_changed"
    """Uploaded: another content at the same size, time and inode. A failing disk, or somebody who hides."""
    ADOPTED = "adopted"
    """Stored already by a run that was cut short."""
    HEALED = "healed"
    """Unchanged, and put into the current state again."""
    UNREAD = "unread"
    GONE = "gone"


class _Offer(NamedTuple):
    """Places that may hold a content already. good: the same path. stored: a version in the current state.

    origin: a path that was perhaps renamed, or, for healing, the same one: the store copies it.
    """

    good: Entry | None = None
    origin: Entry | None = None
    stored: str = ""
    healing: bool = False


@dataclass(frozen=True)
class Contents:
    """Storage of contents for one backup, from several threads. renamed: files that vanished, by identity.

    anew: rely on nothing that is stored already. outdated: the current state is a newer backup's, and stays: contents
    go under the hashes of their paths, where each is only ever read by its version.
    """

    tree: Tree
    store: ObjectStore
    source: str
    backup_id: str
    renamed: Mapping[Identity, Entry]
    cancellation: Cancellation
    anew: bool = False
    outdated: bool = False

    def keep(self, step: Step, old: Entry | None) -> tuple[Entry, How]:
        """Store a content; return the entry with its place. old: the path in the previous backup.

        Raises RepositoryError, SourceError.
        """
        self.cancellation.check()
        now = step.entry
        offer = self._offer(step, old)
        try:
            # what is copied from another backup says what it is
            there = self._there(now, now.sha256, offer) if now.sha256 else None
            return there or (self._small(now, offer) if now.size <= SMALL_BYTES else self._large(now, offer))
        except FileNotFoundError:
            return now, How.GONE
        except OSError as error:
            reason = why_unreadable(error)
            if old and old.stored and now.etag and now.etag == old.etag and not self.anew:
                return now.with_content_of(old), How.SAME  # a version of an object is what it was
            return self.unread(now, old, reason), How.UNREAD

    def unread(self, now: Entry, old: Entry | None, reason: str) -> Entry:
        """Describe an unreadable file by what an earlier backup stored of it, if that can be relied on."""
        fault = self.fault(old) if old else ""
        return unread(now, None, f"{reason}; and {fault}") if fault else unread(now, old, reason)

    def fault(self, old: Entry) -> str:
        """Say why a backup that relies on no other cannot name this old content; empty when it can."""
        if not (self.anew and old.stored):
            return ""
        return fault_of(lambda: self._watched(verified(self._small_objects, key_of(self.source, old), old)))

    @cached_property
    def _small_objects(self) -> SmallObjects:
        return SmallObjects(self.store)

    def _offer(self, step: Step, old: Entry | None) -> _Offer:
        now = step.entry
        good = None if self.anew else old
        if good and step.action is Action.HEAL:
            return _Offer(origin=good, stored=step.stored, healing=True)
        known = identity(now) if old is None else None
        return _Offer(good, self.renamed.get(known) if known else None, step.stored)

    def _there(self, now: Entry, digest: str, offer: _Offer) -> tuple[Entry, How] | None:
        """Look for this content at the same path, in the current state, and at a path that is gone."""
        if offer.good and offer.good.sha256 == digest:
            return now.with_content_of(offer.good), How.SAME
        if offer.stored and (kept := self._adopted(now, digest, offer.stored)):
            return kept, How.ADOPTED
        origin = offer.origin
        if origin and origin.sha256 == digest and (copied := self._copy(now, origin)):
            return copied, How.HEALED if offer.healing else How.COPIED
        return None

    def _copy(self, now: Entry, origin: Entry) -> Entry | None:
        if origin.size > COPIED_BYTES:
            return None
        place = Version(key_of(self.source, origin), origin.version)
        try:
            kept, version = self._at_key(now, lambda key: copy_version(self.store, place, key))
        except RepositoryError:
            return None  # it is uploaded instead, and says better what is wrong
        # what was one copy has one checksum
        return kept.with_content_of(origin)._replace(
            hashed_key=kept.hashed_key, version=self._kept(version, kept), added=self.backup_id, parts=0, checksum=""
        )

    def _adopted(self, now: Entry, digest: str, version: str) -> Entry | None:
        """Adopt what a run that was cut short has stored, by the store's checksum of it, or by its content."""
        entry = now._replace(hashed_key=False, sha256=digest, version=version, added=self.backup_id)
        key = key_of(self.source, entry)
        try:
            size, checksum = self._small_objects.stored_checksum(key, version)
            if size != now.size:
                return None
            if self.anew or checksum != b64encode(bytes.fromhex(digest)).decode():
                drain(verified(self._small_objects, key, entry))
        except VerificationError:
            return None
        except RepositoryError as error:
            if not is_missing(error):
                raise
            return None
        parts = 0 if size <= SMALL_BYTES else first_part_bytes(size)
        return entry._replace(parts=parts, checksum=checksum if checksum and "-" in checksum else "")

    def _small(self, now: Entry, offer: _Offer) -> tuple[Entry, How]:
        found, body = self.tree.read(now, _small_body)
        if body is None:
            return self._large(now, offer)  # it has grown since the scan
        digest = hashlib.sha256(body).hexdigest()
        if there := self._there(found, digest, offer):
            return there
        try:
            kept, version = self._at_key(found, lambda key: self._small_objects.put(key, body))
        except OSError as error:  # of credentials that cannot be read, say: not of the file
            raise RepositoryError(
                f"Cannot write {self.store.url}/{key_of(self.source, found)}: {error}.",
                "Look at the credentials of the repository's connection on this worker.",
            ) from error
        version = self._kept(version, kept)
        kept = kept._replace(size=len(body), sha256=digest, version=version, added=self.backup_id, parts=0, checksum="")
        return kept, self._stored(now, offer)

    def _large(self, now: Entry, offer: _Offer) -> tuple[Entry, How]:
        candidates = (offer.good, offer.origin)
        if not now.sha256 and (offer.stored or any(one and one.stored and one.size == now.size for one in candidates)):
            found, digest = self.tree.read(now, lambda blocks: sha256_of(self._watched(blocks)))
            if there := self._there(found, digest, offer):
                return there
        first_part = first_part_bytes(now.size, equal=self.store.options.equal_parts)

        def send(key: str) -> tuple[Entry, Uploaded]:
            return self.tree.read(
                now, lambda blocks: upload(self.store, key, self._watched(blocks), first_part=first_part)
            )

        kept, (found, stored) = self._at_key(now, send)
        composite = "-" in (stored.store_checksum or "")
        found = found._replace(
            hashed_key=kept.hashed_key, size=stored.bytes, sha256=stored.sha256,
            version=self._kept(stored.version, kept), added=self.backup_id, parts=first_part,
            checksum=(stored.store_checksum or "") if composite else "",
        )  # fmt: skip
        return found, self._stored(now, offer)

    def _stored(self, now: Entry, offer: _Offer) -> How:
        good = offer.good
        return How.SILENT if good and good.stored and now.same_content(good) else How.UPLOADED

    def _kept(self, version: str, entry: Entry) -> str:
        """Raise RepositoryError when the bucket keeps no versions any more: the next backup would overwrite this."""
        if version in NO_VERSIONS:
            raise RepositoryError(
                f"{self.store.url}/{key_of(self.source, entry)} was stored without a version of its own, although the "
                "bucket kept versions when this backup began.",
                f"Switch the versioning of the bucket {self.store.bucket} on again, and find out who suspended it. A "
                "store that names no versions cannot hold backups of files.",
            )
        return version

    def _at_key(self, entry: Entry, send: Callable[[str], T]) -> tuple[Entry, T]:
        """Send a content to the key of its path, or, where that cannot be a key, of its hash."""
        if entry.natural_key and not self.outdated:
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


def _small_body(blocks: Blocks) -> bytes | None:
    """Read a small body; None as soon as it is larger than SMALL_BYTES."""
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > SMALL_BYTES:
            return None
    return bytes(body)


def unread(now: Entry, old: Entry | None, reason: str) -> Entry:
    """Describe an unreadable file by what an earlier backup stored of it."""
    known = old if old and old.stored else now
    return now.with_content_of(known)._replace(
        outcome=Outcome.UNREADABLE.value, reason=reason, xattrs=now.xattrs or known.xattrs,
        object_headers=known.object_headers,
    )  # fmt: skip
