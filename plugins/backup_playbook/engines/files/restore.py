"""Restore of files into a directory: all, those below a folder, or one."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

from backup_playbook.core.errors import RestoreError, UnequalError
from backup_playbook.core.tree import Entry, FileType, Outcome, innermost_first, key_of, placed, unsafe
from backup_playbook.core.words import counted
from backup_playbook.engines.files.batches import batches, in_order
from backup_playbook.engines.files.file_system import kind_of, mode_without_acl, owner_of
from backup_playbook.engines.files.place import PathError, Place
from backup_playbook.engines.files.shards import below, left_out, resolve
from backup_playbook.engines.files.unrestored import PROBLEMS_TOLD, Unrestored
from backup_playbook.engines.files.verify import verified
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.small_objects import SmallObjects
from backup_playbook.streams.blocks import sha256_of
from backup_playbook.streams.processes import Cancellation

WINDOW = 1_000
MISSING, REPLACED, RIGHT_ALREADY, KEPT_NEWER = "missing", "replaced", "right_already", "kept_newer"
OTHER_ATTRIBUTES = "other_attributes"
"""Left in place: an equal content with other mode, owner, or, for a file, time."""
WITHOUT_XATTRS = "without_xattrs"
"""Restored without extended attributes, such as ACLs, which this user or file system cannot set."""
ALONE = "hard_links"
"""Restored as a file of its own; it was one of several names of one file."""
IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class FilesRestore:
    """Restore of a backup, or a part of it, into a place. Its verbs may be called again.

    path: a file, a folder, or b"" for everything; see `resolve`. without: paths to leave out, folders with all content.
    overwrite_newer: also replace files that were written after the backup; they are set aside like all others.
    counts: files, folders and links of the last run, also of a failed one, by what became of them.
    """

    reader: BackupReader
    place: Place
    cancellation: Cancellation
    path: bytes = b""
    overwrite_newer: bool = False
    files_at_once: int = 8
    without: Collection[str] = ()
    counts: Counter[str] = field(default_factory=Counter)

    @cached_property
    def _stored(self) -> SmallObjects:
        return SmallObjects(self.reader.store)

    @cached_property
    def _wanted(self) -> bytes:
        return resolve(self.reader, self.path)

    @cached_property
    def _left_out(self) -> Callable[[Entry], bool]:
        return left_out(self.reader, self.without)

    @property
    def _in_use(self) -> bool:
        return bool(self.place.set_aside)

    def run(self) -> Counter[str]:
        """Restore; return `counts`.

        Raises at the end, when all else is there: VerificationError for contents that are not as backed up, and
        RestoreError for paths that cannot be. Raises RepositoryError and RestoreError at once for what concerns all.
        """
        self.counts.clear()
        lost = Unrestored(self.reader)
        self._require_something(lost)
        with self._folders_opened(lost):
            parents = self._make_parents(lost)
            self._fill(lost)
            self._finish_folders(lost, parents)
        lost.refuse(str(self.place.root))
        return self.counts

    def _fill(self, lost: Unrestored) -> None:
        with ThreadPoolExecutor(self.files_at_once, thread_name_prefix="restore") as threads:
            self.counts.update(in_order(self._slots(lost, threads), WINDOW))
        # links when all files are there: nothing is written through one
        for entry in self._entries(FileType.SYMLINK, lost=lost):
            self.counts[lost.attempt(self._restore_link, entry)] += 1

    def _slots(self, lost: Unrestored, threads: ThreadPoolExecutor) -> Iterator[str | Future[str]]:
        for entry, reason in self._placed(lost):
            self.cancellation.check()
            if reason:
                lost.unplaced(entry, PathError(reason, ""))
            elif entry.is_directory:
                yield lost.attempt(self._restore_folder, entry)
            elif entry.type == FileType.FILE:
                yield threads.submit(lost.attempt, self._restore_file, entry)

    def _finish_folders(self, lost: Unrestored, parents: Collection[Entry]) -> None:
        """Set the attributes of new folders, innermost first, when all is in them: that changed their times."""

        def finish(entry: Entry) -> str:
            self.place.set_attributes(entry)
            self.place.made.discard(entry.path.removesuffix(b"/"))
            return ""

        for entry in innermost_first(self._entries(FileType.DIRECTORY, lost=lost)):
            if entry.path.removesuffix(b"/") in self.place.made:
                lost.attempt(finish, entry)
        # buckets have no folders, and their backups name none
        above = {entry.path.removesuffix(b"/") for entry in parents}
        for path in sorted(self.place.made - above, reverse=True):
            self.place.set_usual_mode(path)
        for entry in reversed(list(parents)):
            lost.attempt(finish, entry)
        self.place.made.clear()

    def preview(self, lost: Unrestored) -> Iterator[tuple[str, Entry]]:
        """Preview run() for each file and link, by size and time: no content is read.

        A folder is named when something else is in its place.
        """
        for entry, reason in self._placed(lost):
            self.cancellation.check()
            try:
                what = IMPOSSIBLE if reason else self._outlook(entry, self.place.status(entry.path))
            except PathError:
                what = IMPOSSIBLE
            if what:
                yield what, entry

    def _outlook(self, entry: Entry, found: os.stat_result | None) -> str:
        if entry.is_directory:
            if found is None or stat.S_ISDIR(found.st_mode):
                return ""
            return IMPOSSIBLE if stat.S_ISLNK(found.st_mode) else REPLACED
        if found is None:
            return MISSING
        if kind_of(found) == entry.type and self._looks_equal(entry, found):
            return OTHER_ATTRIBUTES if self._other_attributes(entry, found) else RIGHT_ALREADY
        return KEPT_NEWER if self._is_newer(entry, found) else REPLACED

    def _looks_equal(self, entry: Entry, found: os.stat_result) -> bool:
        if entry.type == FileType.SYMLINK:
            return self.place.target(entry.path) == entry.target
        return (found.st_mtime_ns, found.st_size) == (entry.mtime_ns, entry.size)

    def prove(self, also: Callable[[], object] = lambda: None) -> Counter[str]:
        """Compare contents, links and attributes with the backup. Raises UnequalError.

        also: called at the end, while folders that would not let us in are open.
        """
        counts: Counter[str] = Counter()
        problems: list[str] = []
        with self._folders_opened() as were, ThreadPoolExecutor(self.files_at_once, "prove") as threads:
            for pairs in batches(self._placed(), WINDOW):
                self.cancellation.check()
                found = threads.map(lambda pair: self._compare(pair[0], pair[1], were), pairs)
                for (entry, _), problem in zip(pairs, found, strict=True):
                    if problem in (KEPT_NEWER, OTHER_ATTRIBUTES, WITHOUT_XATTRS):
                        counts[problem] += 1
                    elif problem:
                        problems.append(f"{entry.name}: {problem}")
                    else:
                        counts[entry.type] += 1
            if not problems:
                also()
        if problems:
            raise UnequalError(
                f"Not as backed up in {self.place.root}: {counted(len(problems), 'path')}: " + " | ".join(problems[:5]),
                "If somebody works in that directory, restore into a new one. Else check its disk.",
                tuple(problems[:PROBLEMS_TOLD]),
            )
        return counts

    def _compare(self, entry: Entry, reason: str, were: Mapping[bytes, os.stat_result]) -> str:
        try:
            return reason or self._difference(entry, were.get(entry.path) or self.place.status(entry.path))
        except PathError as error:
            return error.what

    def _folders_opened(self, lost: Unrestored | None = None) -> AbstractContextManager[Mapping[bytes, os.stat_result]]:
        folders = () if self.place.owners else (entry.path for entry in self._entries(FileType.DIRECTORY, lost=lost))
        return self.place.opened_to_owner(folders)

    def _placed(self, lost: Unrestored | None = None) -> Iterator[tuple[Entry, str]]:
        found = below(self.reader, self._wanted, lost.shard if lost else None)
        return placed(one for one in found if _restorable(one) and not self._left_out(one))

    def _entries(self, *kinds: FileType, lost: Unrestored | None = None) -> Iterator[Entry]:
        return (entry for entry, reason in self._placed(lost) if entry.type in kinds and not reason)

    def _make_parents(self, lost: Unrestored) -> list[Entry]:
        """Make missing folders above the wanted path, as the backup has them; return them outermost first."""
        made = []
        steps = self._wanted.removesuffix(b"/").split(b"/")[:-1]
        for depth in range(1, len(steps) + 1):
            path = b"/".join(steps[:depth]) + b"/"
            found = None if unsafe(path) else self.place.status(path)
            if unsafe(path) or (found and stat.S_ISDIR(found.st_mode)):
                continue
            entry = next(below(self.reader, path, lost.shard), None)
            if entry and entry.path == path and entry.is_directory:
                self.place.make_folder(entry)
                made.append(entry)
        return made

    def _require_something(self, lost: Unrestored) -> None:
        if not self._wanted or next(self._placed(lost), None):
            return
        named = next(below(self.reader, self._wanted, lost.shard), None)
        if named and not self._left_out(named):
            raise RestoreError(
                f"The backup {self.reader.manifest.backup_id} has no content of {named.name!r}: {named.reason}.",
                "Choose another backup; list_file_versions shows those that have one.",
            )

    def _restore_folder(self, entry: Entry) -> str:
        self.place.make_folder(entry)
        return "folders"

    def _restore_link(self, entry: Entry) -> str:
        self.cancellation.check()
        found = self.place.status(entry.path)
        if found and stat.S_ISLNK(found.st_mode) and self.place.target(entry.path) == entry.target:
            return RIGHT_ALREADY
        self.place.link(entry)
        return "links"

    def _restore_file(self, entry: Entry) -> str:
        self.cancellation.check()
        if found := self.place.status(entry.path):
            if self._same_content(entry, found):
                return RIGHT_ALREADY
            if self._is_newer(entry, found):
                return KEPT_NEWER
        self.place.write_entry(entry, verified(self._stored, key_of(self.reader.manifest.source, entry), entry))
        return ALONE if entry.links > 1 else "files"

    def _is_newer(self, entry: Entry, found: os.stat_result) -> bool:
        """Check whether somebody wrote to a file after the backup, and it shall stay."""
        newer = stat.S_ISREG(found.st_mode) and found.st_mtime_ns > entry.mtime_ns
        return newer and not self.overwrite_newer and entry.type == FileType.FILE

    def _same_content(self, entry: Entry, found: os.stat_result) -> bool:
        same_size = stat.S_ISREG(found.st_mode) and found.st_size == entry.size
        return same_size and sha256_of(self.place.read(entry.path)) == entry.sha256

    def _difference(self, entry: Entry, found: os.stat_result | None) -> str:
        """Say what is not as backed up; empty when nothing."""
        if found is None:
            return "it is not there"
        if kind_of(found) != entry.type:
            return f"it is no {entry.type}"
        if entry.type == FileType.FILE and not self._same_content(entry, found):
            return KEPT_NEWER if self._is_newer(entry, found) else "it has another content"
        if entry.type == FileType.SYMLINK and self.place.target(entry.path) != entry.target:
            return "it leads somewhere else"
        other, bare = self._other_attributes(entry, found), ""
        if entry.xattrs and not other:
            other, bare = self.place.other_xattrs(entry)
        if other and self._in_use:
            return OTHER_ATTRIBUTES
        return f"it has another {other}" if other in entry.xattrs else other or (bare and WITHOUT_XATTRS)

    def _other_attributes(self, entry: Entry, found: os.stat_result) -> str:
        if not entry.has_attributes:
            return ""
        expected: dict[str, object] = {"time": entry.mtime_ns}
        actual: dict[str, object] = {"time": found.st_mtime_ns}
        if entry.type != FileType.FILE and self._in_use:
            expected.clear()  # whoever works there changes it with every file
        if entry.type != FileType.SYMLINK:
            modes = {entry.mode, mode_without_acl(entry)}  # where there are no ACLs, the group has its own bits
            mode = stat.S_IMODE(found.st_mode)
            expected["mode"], actual["mode"] = oct(mode if mode in modes else entry.mode), oct(mode)
        if self.place.owners:
            expected["owner"], actual["owner"] = owner_of(entry), (found.st_uid, found.st_gid)
        differing = [
            f"{name} {actual[name]} instead of {value}" for name, value in expected.items() if actual[name] != value
        ]
        return ", ".join(differing)


def _restorable(entry: Entry) -> bool:
    if entry.type == FileType.FILE:
        return entry.stored
    return entry.type in (FileType.DIRECTORY, FileType.SYMLINK) and entry.outcome != Outcome.NAMELESS
