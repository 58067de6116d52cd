"""A tree of files as a backup records it: one entry for each path, one JSON line for each entry (the on-disk format).

Entries are in the order of their paths' bytes, where a directory's path ends with a slash. That is the order in which a
walk meets them, what is below a directory follows it, and it is the order in which S3 lists keys: trees, walks and
listings are compared as streams, with memory for one entry of each.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

YOUNG = -1
"""Value for a time shortly before the reading: the next change may leave it as it is."""

L = TypeVar("L")
R = TypeVar("R")

LONGEST_KEY = 900
"""Longest path that is a key. S3 allows 1,024 bytes, with the repository's prefix."""


class FileType(StrEnum):
    """Type of a path."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"


class Outcome(StrEnum):
    """Reason why a path was not backed up as it should; empty for all others."""

    CHANGING = "changing"
    """It was written to while it was read, at every try: what was read last is stored, and may be of two moments."""
    UNREADABLE = "unreadable"
    """Not read. Contents from earlier backups are kept; for a directory, also those below it."""
    SPECIAL = "special"
    """A fifo, socket or device: it has no content that could be stored."""
    NAMELESS = "nameless"
    """A key of a bucket that no directory can hold, and that S3 clients resolve to another key (see `unsafe`): it
    could be brought back nowhere, and is not stored."""
    ONLY_IN_BUCKETS = "only in buckets"
    """Another key that no directory can hold (below a file, too long a name): stored, and restored into a bucket."""


class Entry(NamedTuple):
    """A path. Times in nanoseconds; `path` and `target` as the file system has them, whatever their encoding."""

    path: bytes
    type: str
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    inode: int = 0
    sparse: bool = False
    target: bytes = b""
    """Target of a symbolic link."""
    etag: str = ""
    """ETag of an object in a bucket that is backed up."""
    sha256: str = ""
    """SHA-256 of the content; empty when nothing is stored of it."""
    version: str = ""
    """S3 version that holds the content."""
    parts: int = 0
    """Size of the first part when it was stored in several (see repository.upload.part_bytes)."""
    checksum: str = ""
    """The store's composite checksum, when it was stored in several parts; else it is that of `sha256`."""
    hashed_key: bool = False
    """Whether it is stored under the hash of its path: S3, or this store, cannot have the path itself as a key."""
    added: str = ""
    """Id of the backup that stored this version."""
    outcome: str = ""
    reason: str = ""
    """Reason of the outcome, for people."""
    device: int = 0
    """Number of the file system; 0 for that of the tree's root, whose number differs from worker to worker."""
    ctime_ns: int = 0
    """Time of the last change of content or attributes, which nobody can set; or YOUNG."""
    links: int = 0
    """Number of names of the file, when it has several: those of one inode on one device."""
    xattrs: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    """Extended attributes, ACLs and capabilities among them: names percent-encoded, values in base64."""
    object_headers: dict[str, str | dict[str, str]] = {}  # noqa: RUF012
    """Headers of an object in a bucket, as arguments of PutObject: ContentType, CacheControl, ..., Metadata (an
    object), Tagging (`key=value&...`)."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.type == FileType.DIRECTORY

    @property
    def stored(self) -> bool:
        """Whether there is a content to verify and to restore."""
        return self.sha256 != ""

    @property
    def has_attributes(self) -> bool:
        """Whether mode, owner and time are known: of a path that could not even be looked at, they are not."""
        return self.outcome != Outcome.UNREADABLE or bool(self.inode or self.mode or self.mtime_ns)

    @property
    def name(self) -> str:
        """Path for people."""
        return self.path.decode(errors="backslashreplace")

    @property
    def natural_key(self) -> bool:
        """Whether S3 can hold the path as a key, and every client can read it back from a listing."""
        try:
            text = self.path.decode()
        except UnicodeDecodeError:
            return False
        return len(self.path) <= LONGEST_KEY and text.isprintable() and not _is_confusing(text)

    def same_content(self, other: Entry) -> bool:
        """Whether nothing suggests that the content differs from `other`, which is stored: it need not be read."""
        if self.sha256:
            return self.sha256 == other.sha256
        if other.outcome in (Outcome.CHANGING, Outcome.UNREADABLE):
            return False
        return self.ctime_ns != YOUNG and (
            self.size, self.mtime_ns, self.ctime_ns, self.inode, self.device, self.etag, self.type, self.target,
        ) == (
            other.size, other.mtime_ns, other.ctime_ns, other.inode, other.device, other.etag, other.type, other.target,
        )  # fmt: skip

    def same_attributes(self, other: Entry) -> bool:
        """Whether attributes are equal: mode, owner, time, device, links and extended attributes."""
        return (
            self.mode, self.uid, self.gid, self.user, self.group, self.mtime_ns, self.device, self.links, self.xattrs,
        ) == (
            other.mode, other.uid, other.gid, other.user, other.group, other.mtime_ns, other.device, other.links,
            other.xattrs,
        )  # fmt: skip

    def with_content_of(self, other: Entry) -> Entry:
        """Entry with the attributes of this one, and the content of the other."""
        return self._replace(**{name: getattr(other, name) for name in _CONTENT_FIELDS})


_CONTENT_FIELDS = ("sha256", "version", "parts", "checksum", "hashed_key", "added", "size")
_DEFAULTS = Entry._field_defaults
_BYTES_FIELDS = (("path", "path_base64"), ("target", "target_base64"))


def to_line(entry: Entry, **more: str) -> bytes:
    """JSON object on one line. A name that is not UTF-8 travels as `path_base64`."""
    document: dict[str, Any] = dict(more)
    for name, value in zip(Entry._fields, entry, strict=True):
        if value == _DEFAULTS.get(name):
            continue
        if isinstance(value, bytes):
            try:
                document[name] = value.decode()
            except UnicodeDecodeError:
                document[f"{name}_base64"] = b64encode(value).decode()
        else:
            document[name] = value
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def from_document(document: dict[str, Any]) -> Entry:
    """Entry from a JSON object. Raises ValueError or TypeError for anything that `to_line` does not write."""
    for name, encoded in _BYTES_FIELDS:
        if name in document:
            document[name] = document[name].encode()
        elif encoded in document:
            document[name] = b64decode(document.pop(encoded), validate=True)
    return Entry(**document)


def key_of(source: str, entry: Entry) -> str:
    """Key of the content, relative to the repository."""
    if entry.hashed_key:
        return f"{hashed_folder(source)}{hashlib.sha256(entry.path).hexdigest()}"
    return current_folder(source) + entry.path.decode()


def merge(
    left: Iterable[L],
    right: Iterable[R],
    *,
    left_path: Callable[[L], bytes],
    right_path: Callable[[R], bytes],
) -> Iterator[tuple[L | None, R | None]]:
    """Pair two ordered streams by path; None where one has nothing."""
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and left_path(one) < right_path(other)):
            yield one, None
            one = next(lefts, None)
        elif one is None or right_path(other) < left_path(one):
            yield None, other
            other = next(rights, None)
        else:
            yield one, other
            one, other = next(lefts, None), next(rights, None)


def current_folder(source: str) -> str:
    """Key prefix of the state of the newest backup, as any S3 tool can read it."""
    return f"current/{source}/"


def hashed_folder(source: str) -> str:
    """Key prefix of contents whose paths cannot be keys."""
    return f"current-hashed/{source}/"


def unsafe(path: bytes) -> bool:
    """Whether no directory can hold a path from a backup: it would lead out of it, or to another path."""
    parts = path.removesuffix(b"/").split(b"/")
    return not path or b"\0" in path or any(part in (b"", b".", b"..") for part in parts)


def placed(entries: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
    """Entries, each with the reason why no directory can hold it beside the others; empty for nearly all.

    Ordered entries come out nearly so: a file waits until it is known that nothing is below it, as keys of a bucket can
    be (`a` and `a/b`). Then all that is below comes back, and the one does not.
    """
    held: list[Entry] = []  # each one's path begins with that of the one before
    for entry in entries:
        while held and not entry.path.startswith(held[-1].path):
            yield held.pop(), ""
        for above in [one for one in held if entry.path.startswith(one.path + b"/")]:
            held.remove(above)
            yield above, f"it cannot be there beside {entry.name!r}"
        if unsafe(entry.path):
            yield entry, "no directory can hold it, or it would lead out of it"
        elif entry.is_directory:
            yield entry, ""
        elif entry.path.endswith(b"/"):
            yield entry, "it has a content, and the name of a folder"
        else:
            held.append(entry)
    while held:
        yield held.pop(), ""


def innermost_first(folders: Iterable[Entry]) -> Iterator[Entry]:
    """Order folders so that each comes after those that are in it."""
    around: list[Entry] = []
    for entry in folders:
        while around and not entry.path.startswith(around[-1].path):
            yield around.pop()
        around.append(entry)
    yield from reversed(around)


def _is_confusing(text: str) -> bool:
    """Whether S3 takes the key, while some of its clients and compatibles resolve it to another one."""
    return any(part in ("", ".", "..") for part in text.split("/"))
