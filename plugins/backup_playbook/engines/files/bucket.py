"""A bucket as a tree: its present objects, each by its version."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from backup_playbook.core.errors import RepositoryError, SourceError
from backup_playbook.core.tree import Entry, FileType, Outcome, unsafe
from backup_playbook.repository.listing import ListedVersion
from backup_playbook.repository.replication import require_replication
from backup_playbook.repository.s3errors import code_of, explained, is_missing, is_of_object
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import list_versions, require_versioning
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")
log = logging.getLogger(__name__)

_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_HEADERS = (
    "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata",
    "WebsiteRedirectLocation",
)  # fmt: skip
_LONGEST_NAME = 255
"""Bytes in a part of a path, in all common file systems."""
_REMEDY = (
    "Give the credentials of this source s3:ListBucketVersions and s3:GetBucketVersioning on its bucket, "
    "s3:GetObjectVersion and s3:GetObjectVersionTagging on its objects, and kms:Decrypt on their keys."
)


@dataclass(frozen=True)
class BucketTree:
    """A bucket that keeps versions: the listed version is read, whoever writes meanwhile.

    replica: the bucket that its own rules must replicate it to; empty: not checked.
    """

    store: ObjectStore
    replica: str = ""
    _tagless: list[str] = field(default_factory=list)
    """Objects whose tags could not be read."""

    @property
    def details(self) -> dict[str, Any]:
        """Details for the manifest."""
        return {"bucket": self.store.url, **({"tags_unread": len(self._tagless)} if self._tagless else {})}

    def scan(self, cancellation: Cancellation) -> Iterator[Entry]:
        """List the present objects. Raises SourceError when the bucket keeps no versions."""
        try:
            require_versioning(self.store, "what is read would not be what was listed")
            if self.replica:
                require_replication(self.store, self.replica)
            above: list[bytes] = []
            for item in list_versions(self.store, ""):
                cancellation.check()
                if not item.latest or item.deleted or not item.path:
                    continue
                entry = _entry(item)
                if entry.type == FileType.FILE:
                    above = [path for path in above if entry.path.startswith(path)]
                    if not entry.outcome and (reason := _only_in_buckets(entry.path, above)):
                        entry = entry._replace(outcome=Outcome.ONLY_IN_BUCKETS.value, reason=reason)
                    if not entry.path.endswith(b"/"):
                        above.append(entry.path)
                yield entry
        except RepositoryError as error:
            raise _of_source(error, self.store) from error

    def look_closer(self, entry: Entry) -> Entry:
        """Look for a retrieved copy of an archived object."""
        if entry.outcome != Outcome.UNREADABLE:
            return entry
        try:
            with explained(f"look up {self.store.url}/{entry.name}"):
                answer = self.store.client.head_object(**self._where(entry))
        except RepositoryError:
            return entry
        return (
            entry._replace(outcome="", reason="") if 'ongoing-request="false"' in answer.get("Restore", "") else entry
        )

    def read(self, entry: Entry, consume: Callable[[Blocks], T]) -> tuple[Entry, T]:
        """Read a version, with its headers and tags."""
        answer: dict[str, Any] = {}
        result = consume(self._blocks(entry, answer))
        headers = {name: answer[name] for name in _HEADERS if answer.get(name)}
        if answer.get("TagCount") and (tags := self._tags(entry)):
            headers["Tagging"] = tags
        return entry._replace(object_headers=headers), result

    def _blocks(self, entry: Entry, answer: dict[str, Any]) -> Iterator[bytes]:
        """Read blocks; tell errors of the source from those of the repository, which `consume` writes to."""
        try:
            yield from self.store.read_with_headers(entry.path.decode(), entry.etag, answer)
        except RepositoryError as error:
            if is_missing(error):
                raise FileNotFoundError(error.what) from error
            if is_of_object(error):
                raise OSError(errno.EIO, f"the source's store answered {_code(error) or 'half of it'}") from error
            raise _of_source(error, self.store) from error

    def _tags(self, entry: Entry) -> str:
        try:
            with explained(f"read the tags of {self.store.url}/{entry.name}"):
                found = self.store.client.get_object_tagging(**self._where(entry))["TagSet"]
        except RepositoryError as error:
            if not self._tagless:
                log.warning("%s Its content is backed up, its tags are not. %s", error.what, _REMEDY)
            self._tagless.append(entry.name)
            return ""
        return urlencode({tag["Key"]: tag["Value"] for tag in found})

    def _where(self, entry: Entry) -> dict[str, Any]:
        return {"Bucket": self.store.bucket, "Key": self.store.path(entry.path.decode()), "VersionId": entry.etag}


def _of_source(error: RepositoryError, store: ObjectStore) -> SourceError:
    remedy = _REMEDY if _code(error) == "AccessDenied" else error.remedy
    return SourceError(f"The source {store.url} cannot be read: {error.what}", remedy)


def _code(error: RepositoryError) -> str:
    return code_of(error.__cause__) if isinstance(error.__cause__, ClientError) else ""


def _only_in_buckets(path: bytes, above: Sequence[bytes]) -> str:
    """Say why no directory can hold it; empty when one can. above: the files whose keys its own starts with."""
    if path.endswith(b"/"):
        return "it has a content, and a directory can only have a folder of this name"
    if file := next((other for other in above if path.startswith(other + b"/")), b""):
        return f"no directory can hold it beside the file {file.decode()!r}"
    if any(len(part) > _LONGEST_NAME for part in path.split(b"/")):
        return f"a part of it is longer than the {_LONGEST_NAME} bytes that a file's name can have"
    return ""


def _entry(item: ListedVersion) -> Entry:
    is_folder = item.path.endswith("/") and not item.bytes
    path = item.path.encode()
    nameless, archived = unsafe(path), item.storage_class in _ARCHIVED
    outcome, reason = "", ""
    if nameless:
        outcome = Outcome.NAMELESS.value
        reason = "no directory can hold this key, and S3 clients take it for another one: rename it"
    elif archived:
        outcome = Outcome.UNREADABLE.value
        reason = f"it is archived ({item.storage_class}): request its retrieval"
    return Entry(
        path=path,
        type=(FileType.DIRECTORY if is_folder else FileType.FILE).value,
        size=item.bytes,
        mtime_ns=int(item.modified.timestamp()) * 10**9,
        mode=0o755 if is_folder else 0o644,
        etag=item.version,
        outcome=outcome,
        reason=reason,
    )
