"""The tree of a backup as objects: shards of some 10,000 lines each, in the order of the paths (see core.tree).

The manifest's details say of each shard which paths are in it, so that one path is found with one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

from backup_playbook.core.errors import PlaybookError, RepositoryError, RestoreError, VerificationError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.tree import Entry, from_document
from backup_playbook.engines.files.batches import batches
from backup_playbook.engines.files.details import Shard, ShardDetails
from backup_playbook.repository.objects import BackupReader, BackupWriter
from backup_playbook.repository.s3errors import is_missing, is_of_object
from backup_playbook.streams.blocks import Blocks

ENTRIES_PER_SHARD = 10_000
PARSED_AT_ONCE = 1_000
"""Lines parsed as one JSON array: one by one, they take Python twice as long."""
_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")
_REMEDY = "Use another backup, or the off-site copy."


@dataclass
class ShardWriter:
    """Writer of lines, in order, as objects `<name>-00000.jsonl`. Memory: one shard."""

    writer: BackupWriter
    name: str
    objects: list[StoredObject] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    _lines: list[bytes] = field(default_factory=list)
    _first: bytes = b""
    _last: bytes = b""

    def add(self, path: bytes, line: bytes) -> None:
        """Add a line; write a shard when it is full."""
        if not self._lines:
            self._first = path
        self._last = path
        self._lines.append(line)
        if len(self._lines) == ENTRIES_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Write the last shard. An empty tree has one too: a missing object is never taken for an empty tree."""
        if not self._lines and self.objects:
            return
        content = b"".join(self._lines)
        item = self.writer.write(f"{self.name}-{len(self.objects):05}.jsonl", ObjectKind.TREE, [content])
        first, last = quote_from_bytes(self._first), quote_from_bytes(self._last)
        self.objects.append(item)
        self.shards.append(Shard(object=item.name, first=first, last=last, entries=len(self._lines)))
        self._lines = []


def lines(blocks: Blocks) -> Iterator[bytes]:
    """Split blocks into whole lines, without their ends."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        yield rest


def documents(reader: BackupReader) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Parse every line of a tree. Raises VerificationError for a damaged one."""
    for item in reader.objects(ObjectKind.TREE):
        yield from _parsed(lines(reader.content(item)), item)


def entries(reader: BackupReader) -> Iterator[Entry]:
    """Read all entries of a backup."""
    return below(reader, b"")


def below(
    reader: BackupReader, path: bytes, damaged: Callable[[PlaybookError], object] | None = None
) -> Iterator[Entry]:
    """Read the entry of `path`, or, when it ends with a slash, it and all below it. b"": everything.

    damaged: called with the error of each unusable shard, and the others are read; without it, the first one is raised:
    a VerificationError for a shard that is gone or changed, a RepositoryError for one that may not be read now.
    """
    shards = {shard.object: shard for shard in ShardDetails.of(reader.manifest).shards if _may_hold(shard, path)}
    for item in reader.objects(ObjectKind.TREE):
        if item.name in shards:
            found = _entries(lines(reader.content(item)), item)
            for entry in _whole(found, shards[item.name], damaged) if damaged else found:
                if not path or entry.path == path or (path.endswith(b"/") and entry.path.startswith(path)):
                    yield entry


def _whole(found: Iterator[Entry], shard: Shard, damaged: Callable[[PlaybookError], object]) -> list[Entry]:
    """Read all entries of a shard, or none."""
    try:
        return list(found)
    except VerificationError as error:
        cause: PlaybookError = error
        kind: type[PlaybookError] = VerificationError
    except RepositoryError as error:
        if not is_of_object(error):
            raise
        cause, kind = error, VerificationError if is_missing(error) else RepositoryError
    paths = f"{shard.entries:,} paths from {unquote(shard.first)!r} to {unquote(shard.last)!r}"
    damaged(kind(f"The list of {paths} cannot be used: {cause.what}", cause.remedy))
    return []


def resolve(reader: BackupReader, path: bytes) -> bytes:
    r"""Find the path that people mean: `/invoices/`, `./invoices`, `invoices` for a folder, or `caf\xe9` for odd bytes.

    Raises RestoreError when the backup has nothing like it, VerificationError or RepositoryError when that cannot be
    told.
    """
    plain = path.removeprefix(b"./").strip(b"/")
    if not plain and not path.strip(b"./"):
        return b""
    others = (plain + b"/", plain) if path.endswith(b"/") else (plain, plain + b"/")
    meant = [path, *others]
    meant += [_ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), one) for one in meant]
    problems: list[PlaybookError] = []
    for candidate in dict.fromkeys(meant):
        if next(below(reader, candidate, problems.append), None) is not None:
            return candidate
    if problems:
        raise problems[0]
    raise RestoreError(
        f"The backup {reader.manifest.backup_id} of {reader.manifest.source} has no "
        f"{path.decode(errors='backslashreplace')!r}.",
        "Run list_file_versions for it: it shows when it was deleted, and its versions. Give the moment, or the "
        "version. Write the path relative to the source.",
    )


def left_out(reader: BackupReader, names: Iterable[str]) -> Callable[[Entry], bool]:
    """Return a test for entries at or below these paths. Raises RestoreError for a path that is not there."""
    paths = {resolve(reader, name.encode()) for name in names}
    folders = tuple(path for path in paths if path.endswith(b"/"))
    return lambda entry: entry.path in paths or entry.path.startswith(folders)


def _may_hold(shard: Shard, path: bytes) -> bool:
    first, last = unquote_to_bytes(shard.first), unquote_to_bytes(shard.last)
    return first[: len(path)] <= path <= last or last.startswith(path)


def check_shard(manifest: Manifest, item: StoredObject, content: Blocks) -> None:
    """Read a shard to its end and compare it with the manifest. Raises VerificationError."""
    count, first, last, ordered = 0, b"", b"", True
    for entry in _entries(lines(content), item):
        path = entry.path
        ordered = ordered and last < path
        first, last = first or path, path
        count += 1
    said = next((shard for shard in ShardDetails.of(manifest).shards if shard.object == item.name), None)
    found = Shard(object=item.name, first=quote_from_bytes(first), last=quote_from_bytes(last), entries=count)
    if found != said or not ordered:
        wanted = said.entries if said else 0
        raise VerificationError(
            f"{item.name} has {count} entries where the manifest says {wanted}, or other paths, or another order.",
            _REMEDY,
        )


def _entries(found: Iterable[bytes], item: StoredObject) -> Iterator[Entry]:
    for line, document in _parsed(found, item):
        try:
            yield from_document(document)
        except (TypeError, ValueError):
            raise _damaged(line, item) from None


def _parsed(found: Iterable[bytes], item: StoredObject) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for some in batches(found, PARSED_AT_ONCE):
        try:
            parsed = json.loads(b"[%b]" % b",".join(some))
        except ValueError:
            parsed = []
        if len(parsed) != len(some):
            parsed = [_one(line, item) for line in some]
        for line, document in zip(some, parsed, strict=True):
            if not isinstance(document, dict):
                raise _damaged(line, item)
            yield line, document


def _one(line: bytes, item: StoredObject) -> object:
    try:
        return json.loads(line)
    except ValueError:
        raise _damaged(line, item) from None


def _damaged(line: bytes, item: StoredObject) -> VerificationError:
    return VerificationError(f"{item.name} has a line that is no entry of a tree: {line[:80]!r}.", _REMEDY)
