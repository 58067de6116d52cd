"""Restoring files from a backup into a directory: all, what is below a folder, or one."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import stat
from collections import Counter, deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from backup_playbook.core.errors import RestoreError, VerificationError
from backup_playbook.core.holdings import counted
from backup_playbook.core.tree import Entry, FileType, Outcome, key_of, unsafe
from backup_playbook.engines.files.batches import batches
from backup_playbook.engines.files.place import Place, kind_of
from backup_playbook.engines.files.shards import below
from backup_playbook.engines.files.verify import verified
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.quick import QuickRequests
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)

WINDOW = 1_000
PROBLEMS_TOLD = 1_000
MISSING, REPLACED, RIGHT_ALREADY, KEPT_NEWER = "missing", "replaced", "right_already", "kept_newer"


@dataclass(frozen=True)
class FilesRestore:
    """path: a file, a folder with a slash at its end, or b"" for everything. Its verbs may be called again.

    overwrite_newer: also replace files that were written after the backup; they are set aside like all others.
    """

    reader: BackupReader
    place: Place
    cancellation: Cancellation
    path: bytes = b""
    overwrite_newer: bool = False
    files_at_once: int = 8
    _pathless: dict[bytes, Entry] = field(default_factory=dict)
    """What no directory can hold, by path."""

    @cached_property
    def _stored(self) -> QuickRequests:
        return QuickRequests(self.reader.store)

    def run(self) -> Counter[str]:
        """Returns how many files, folders and links were restored, were right already, or were kept.

        Raises VerificationError for a content that is not what was backed up, and RestoreError, also at the end, when
        the backup has contents under names that no directory can hold: all others are there then.
        """
        counts: Counter[str] = Counter()
        self._require_something()
        parents = self._make_parents()
        with ThreadPoolExecutor(self.files_at_once, thread_name_prefix="restore") as threads:
            waiting: deque[Future[str]] = deque()
            try:
                for entry in self._entries(FileType.FILE, FileType.DIRECTORY):
                    self.cancellation.check()
                    waiting.append(threads.submit(self._restore, entry))
                    if len(waiting) > WINDOW:
                        counts[waiting.popleft().result()] += 1
                while waiting:
                    counts[waiting.popleft().result()] += 1
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        # links when all files are there: nothing is written through one. Folders last: what is put into one changes it
        for entry in self._entries(FileType.SYMLINK):
            counts[self._restore(entry)] += 1
        for entry in self._entries(FileType.DIRECTORY):
            self.place.set_attributes(entry)
            self.place.made.discard(entry.path.removesuffix(b"/"))
        for entry in parents:
            self.place.set_attributes(entry)
        self._open_unknown(parents)
        self._refuse_pathless()
        return counts

    def preview(self) -> Iterator[tuple[str, Entry]]:
        """What run() will do with each file and link, by their sizes and times: no content is read."""
        for entry in self._entries(FileType.FILE, FileType.SYMLINK):
            self.cancellation.check()
            yield self._outlook(entry, self.place.status(entry.path)), entry

    def _outlook(self, entry: Entry, found: os.stat_result | None) -> str:
        if found is None:
            return MISSING
        if kind_of(found) == entry.type and self._looks_equal(entry, found):
            return RIGHT_ALREADY
        newer = stat.S_ISREG(found.st_mode) and found.st_mtime_ns > entry.mtime_ns
        return KEPT_NEWER if newer and not self.overwrite_newer and entry.type == FileType.FILE else REPLACED

    def _looks_equal(self, entry: Entry, found: os.stat_result) -> bool:
        if entry.type == FileType.SYMLINK:
            return self.place.target(entry.path) == entry.target
        return (found.st_mtime_ns, found.st_size) == (entry.mtime_ns, entry.size)

    def prove(self) -> Counter[str]:
        """Compare what is there with the backup: contents, links, attributes. Raises VerificationError."""
        counts: Counter[str] = Counter()
        problems: list[str] = []
        with ThreadPoolExecutor(self.files_at_once, thread_name_prefix="prove") as threads:
            for entries in batches(self._entries(*FileType), WINDOW):
                self.cancellation.check()
                for entry, problem in zip(entries, threads.map(self._difference, entries), strict=True):
                    if problem == KEPT_NEWER:
                        counts[KEPT_NEWER] += 1
                    elif problem:
                        problems.append(f"{entry.name}: {problem}")
                    else:
                        counts[entry.type] += 1
        if problems:
            raise VerificationError(
                f"Not as backed up in {self.place.root}: {counted(len(problems), 'path')}: " + " | ".join(problems[:5]),
                "If somebody works in that directory, restore into a new one. Else check its disk.",
                tuple(problems[:PROBLEMS_TOLD]),
            )
        return counts

    def _entries(self, *kinds: FileType) -> Iterator[Entry]:
        for entry in below(self.reader, self.path):
            if entry.type not in kinds or not _restorable(entry):
                continue
            if unsafe(entry.path):
                self._pathless[entry.path] = entry
            else:
                yield entry

    def _make_parents(self) -> list[Entry]:
        """The folders above what is wanted that are not there, as the backup has them, outermost first.

        They are made with their attributes at once: a restore that is tried again finds them there. Their times are
        those of what is put into them until they are set again.
        """
        made = []
        steps = self.path.removesuffix(b"/").split(b"/")[:-1]
        for depth in range(1, len(steps) + 1):
            path = b"/".join(steps[:depth]) + b"/"
            found = None if unsafe(path) else self.place.status(path)
            if unsafe(path) or (found and stat.S_ISDIR(found.st_mode)):
                continue
            entry = next(below(self.reader, path), None)
            if entry and entry.path == path and entry.is_directory:
                self.place.make_folder(path)
                # what is below it is still to be made, also by others than root
                self.place.set_attributes(entry._replace(mode=entry.mode | stat.S_IRWXU))
                made.append(entry)
        return made

    def _open_unknown(self, parents: Collection[Entry]) -> None:
        """Buckets have no folders, and their backups name none."""
        for path in self.place.made - {entry.path.removesuffix(b"/") for entry in parents}:
            self.place.set_usual_mode(path)
        self.place.made.clear()

    def _refuse_pathless(self) -> None:
        if not self._pathless:
            return
        store, source = self.reader.store, self.reader.manifest.source
        fetched = [
            f"aws s3api get-object --bucket {store.bucket} --key {shlex.quote(store.path(key_of(source, entry)))} "
            f"--version-id {shlex.quote(entry.version)} FILE  # {entry.name!r}"
            for entry in islice(self._pathless.values(), PROBLEMS_TOLD)
            if entry.stored and entry.hashed_key
        ]
        log.warning("Contents under names that no directory can hold:\n%s", "\n".join(fetched))
        first = next(iter(self._pathless.values()))
        raise RestoreError(
            f"The backup names {counted(len(self._pathless), 'path')} that no directory can hold, or that would lead "
            f"out of it, first {first.name!r}. All others are in {self.place.root}.",
            "When these are keys of a bucket (a//b, /x, a/../b), this task's log has a command for each that fetches "
            "it; later backups leave such keys out. No backup of a directory has them: find out who wrote to the "
            "repository.",
        )

    def _require_something(self) -> None:
        if not self.path:
            return
        named, backup_id = next(below(self.reader, self.path), None), self.reader.manifest.backup_id
        if named is None:
            raise RestoreError(
                f"The backup {backup_id} has no {self.path.decode(errors='backslashreplace')!r}.",
                "Write the path as list_file_versions shows it, relative to the source, a folder with a slash at its "
                "end; or choose an earlier backup.",
            )
        if named.path == self.path and next(self._entries(*FileType), None) is None and not self._pathless:
            raise RestoreError(
                f"The backup {backup_id} has no content of {named.name!r}: {named.reason}.",
                "Choose another backup; list_file_versions shows those that have one.",
            )

    def _restore(self, entry: Entry) -> str:
        self.cancellation.check()
        found = self.place.status(entry.path)
        if found and self._keeps(entry, found):
            return KEPT_NEWER
        if entry.is_directory:
            self.place.make_folder(entry.path)
            return "folders"
        if entry.type == FileType.SYMLINK:
            if found and stat.S_ISLNK(found.st_mode) and self.place.target(entry.path) == entry.target:
                self.place.set_link_attributes(entry)
            else:
                self.place.link(entry)
            return "links"
        if found and self._same_content(entry, found):
            self.place.set_attributes(entry)
            return RIGHT_ALREADY
        self.place.write(entry, verified(self._stored, key_of(self.reader.manifest.source, entry), entry))
        return "files"

    def _keeps(self, entry: Entry, found: os.stat_result) -> bool:
        """Whether somebody wrote to a file after the backup, and it shall stay."""
        newer = stat.S_ISREG(found.st_mode) and found.st_mtime_ns > entry.mtime_ns
        return (
            newer and not self.overwrite_newer and entry.type == FileType.FILE and not self._same_content(entry, found)
        )

    def _same_content(self, entry: Entry, found: os.stat_result) -> bool:
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
            return False
        digest = hashlib.sha256()
        for block in self.place.read(entry.path):
            digest.update(block)
        return digest.hexdigest() == entry.sha256

    def _difference(self, entry: Entry) -> str:
        """What is not as backed up; empty when nothing."""
        found = self.place.status(entry.path)
        if found is None:
            return "it is not there"
        if kind_of(found) != entry.type:
            return f"it is no {entry.type}"
        if entry.type == FileType.FILE and not self._same_content(entry, found):
            return KEPT_NEWER if self._keeps(entry, found) else "it has another content"
        if entry.type == FileType.SYMLINK and self.place.target(entry.path) != entry.target:
            return "it leads somewhere else"
        if not entry.has_attributes:
            return ""
        expected: dict[str, object] = {"time": entry.mtime_ns}
        actual: dict[str, object] = {"time": found.st_mtime_ns}
        if entry.type != FileType.SYMLINK:
            expected["mode"], actual["mode"] = oct(entry.mode), oct(stat.S_IMODE(found.st_mode))
        differing = [
            f"{name} {actual[name]} instead of {value}" for name, value in expected.items() if actual[name] != value
        ]
        return ", ".join(differing)


def _restorable(entry: Entry) -> bool:
    if entry.type == FileType.FILE:
        return entry.stored
    return entry.type in (FileType.DIRECTORY, FileType.SYMLINK) and entry.outcome != Outcome.NAMELESS
