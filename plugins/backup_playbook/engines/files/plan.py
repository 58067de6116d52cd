"""Plan of a backup: the differences between the tree now and that of the previous backup."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple

from backup_playbook.core.files_guard import FEW, NEARLY_ALL, Losses
from backup_playbook.core.tree import YOUNG, Entry, FileType, Outcome, from_document, merge, to_line
from backup_playbook.engines.files.base import CurrentState, Found
from backup_playbook.engines.files.shards import documents
from backup_playbook.engines.files.trees import Tree, why_unreadable
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.small_objects import SMALL_BYTES
from backup_playbook.streams.blocks import sha256_of
from backup_playbook.streams.processes import Cancellation

RENAMES_COUNTED = 1_000_000
"""Most new or vanished files in which renames are found; beyond, they count as losses. Up to 70 bytes for each."""
SAMPLE = 50
"""Files that are read to tell changed contents from changed times and owners."""
LARGE_SAMPLE = 3
"""Large files, the smallest ones, that are read to tell it of those that seem to have another owner only."""
MOUNTS_NAMED = 10


class Action(StrEnum):
    """Change of a path; one that the plan does not name stays as it is."""

    ADD = "add"
    CHANGE = "change"
    """Read it: its content may differ."""
    TOUCH = "touch"
    """Note its attributes, which alone differ."""
    REMOVE = "remove"
    HEAL = "heal"
    """Put it into the current state again, which has something else in its place, or nothing."""


class Step(NamedTuple):
    """One change. stored: the version that a run which was cut short may have put into the current state."""

    action: Action
    entry: Entry
    stored: str = ""

    def to_line(self) -> bytes:
        """Write a line of the plan."""
        return to_line(self.entry, action=self.action, **({"stored": self.stored} if self.stored else {}))


Identity = tuple[int, int, int, int]
_Known = tuple[Entry | None, Found | None]
"""One path in the previous backup, and in the current state."""
_NOTHING: _Known = (None, None)
_PATH: Callable[[Any], bytes] = attrgetter("path")


def _known_path(known: _Known) -> bytes:
    return (known[0] or known[1]).path  # type: ignore[union-attr]


def identity(entry: Entry) -> Identity | None:
    """Return what a file keeps when it is renamed; None without a content.

    Another file may have it too: inodes are used again, and times are set.
    """
    return (entry.inode, entry.size, entry.mtime_ns, entry.device) if entry.inode and entry.size else None


@dataclass
class Plan:
    """Differences of one backup, yielded once; afterwards `losses` and `counts` are complete.

    rehash: read the content of every file, for a disk that rots tells nobody. current: the current state, if it may
    differ from the previous backup's: missing files are healed, and files that the tree lacks are removed.
    """

    tree: Tree
    previous: BackupReader | None
    rehash: bool
    cancellation: Cancellation
    current: CurrentState | None = None
    counts: Counter[str] = field(default_factory=Counter)
    mounts_gone: list[str] = field(default_factory=list)
    """Folders that were mounts in the previous backup, and are no more."""
    _mount: tuple[bytes, int] = (b"", 0)
    _added: set[int] = field(default_factory=set)
    _removed: array[int] = field(default_factory=lambda: array("q"))
    _sample: list[tuple[Entry, Entry]] = field(default_factory=list)
    _large: list[tuple[Entry, Entry]] = field(default_factory=list)

    def differences(self) -> Iterator[Step]:
        """Compare the trees, and count."""
        hidden: Entry | None = None
        paired = merge(self.tree.scan(self.cancellation), self._before(), left_path=_PATH, right_path=_known_path)
        for now, known in paired:
            old, found = known or _NOTHING
            was = old or (found.as_entry if found else None)
            self._count(now, was)
            if was and not now and hidden and was.path.startswith(hidden.path):
                self._count_hidden(was, hidden)
                continue
            if was and was.is_directory and was.device:
                self._watch_mount(now, was)
            if now and now.is_directory and now.outcome == Outcome.UNREADABLE:
                hidden = old or now  # nobody knows what is below: it is not gone
            if now:
                step = self._step(now, old, found)
            elif was:
                self._note_removed(was)
                step = Step(Action.REMOVE, was)
            if step:
                yield step

    def losses(self, *, usual: bool = False) -> Losses:
        """Sum up for the guard. usual: the previous backup had nearly all contents changed, too. Raises SourceError."""
        counts, added = self.counts, self._added
        renamed = sum(known in added for known in self._removed)
        if counts["changed"] + counts["touched"] > max(FEW, NEARLY_ALL * counts["files_before"]):
            rewritten = counts["changed"] * self._share_rewritten(self._sample)
            counts["rewritten"] = round(rewritten + counts["touched"] * self._share_rewritten(self._large))
        return Losses(
            counts["files_before"], counts["vanished"] - renamed, counts["emptied"], counts["lost"],
            0 if usual else counts["rewritten"], counts["files"],
        )  # fmt: skip

    def _before(self) -> Iterable[_Known]:
        known = () if self.previous is None else (from_document(document) for _, document in documents(self.previous))
        if self.current is None:
            return ((entry, None) for entry in known)
        return merge(known, self.current, left_path=_PATH, right_path=_PATH)

    def _step(self, now: Entry, old: Entry | None, found: Found | None) -> Step | None:
        if old and not self.rehash and self.current is None and _is_untouched(now, old):
            return None
        if old is None or now.outcome or _is_touched(now, old):
            now = _as_known(self.tree.look_closer(now), old)
        elif old.xattrs:
            now = now._replace(xattrs=old.xattrs)
        action = self._action(now, old, found)
        if action is None:
            return None
        self._count_step(now, old)
        candidate = found and found.recent and found.size == now.size and not (old and old.version == found.version)
        return Step(action, now, found.version if found and candidate else "")

    def _action(self, now: Entry, old: Entry | None, found: Found | None) -> Action | None:
        if old is None:
            return Action.ADD
        if self.current and self.current.whole and _is_misplaced(now, old, found):
            return Action.HEAL
        is_file = now.type == FileType.FILE
        if now.type != old.type or (is_file and (self.rehash or not now.same_content(old))):
            return Action.CHANGE
        same = now.same_attributes(old) and (now.target, now.outcome) == (old.target, old.outcome)
        same = same and (not now.stored or now.object_headers == old.object_headers)
        return None if same else Action.TOUCH

    def _count(self, now: Entry | None, old: Entry | None) -> None:
        if now:
            self.counts["entries"] += 1
            self.counts["files"] += now.type == FileType.FILE
        if old and old.type == FileType.FILE:
            self.counts["files_before"] += 1
            self.counts["emptied"] += bool(now and old.size and not now.size and not now.outcome)

    def _watch_mount(self, now: Entry | None, old: Entry) -> None:
        """Note a folder that was the root of a file system of its own, and is no more."""
        above, device = self._mount
        if old.device == device and old.path.startswith(above):
            return
        self._mount = (old.path, old.device)
        if not (now and (now.device or not now.has_attributes)) and len(self.mounts_gone) < MOUNTS_NAMED:
            self.mounts_gone.append(old.name)

    def _count_hidden(self, old: Entry, hidden: Entry) -> None:
        """Count a path below a folder that cannot be looked into. Paths that it hid before are no new losses."""
        if old.type == FileType.FILE and old.outcome != Outcome.UNREADABLE:
            self.counts["hidden"] += 1
            self.counts["lost"] += hidden.outcome != Outcome.UNREADABLE

    def _count_step(self, now: Entry, old: Entry | None) -> None:
        is_file = now.type == FileType.FILE
        if now.outcome == Outcome.UNREADABLE:
            # of a folder that was there before, what is below it counts
            self.counts["lost"] += (is_file and old.outcome != Outcome.UNREADABLE) if old else 1
        elif old is None:
            self._note_added(now)
        elif is_file and old.type == now.type and old.stored and not now.same_content(old):
            self._note_changed(now, old)

    def _note_changed(self, now: Entry, old: Entry) -> None:
        small = now.size <= SMALL_BYTES
        if not small and (now.size, now.mtime_ns, now.etag) == (old.size, old.mtime_ns, old.etag):
            # more likely a new owner; what it is, only reading tells
            self.counts["touched"] += 1
            self._large = sorted([*self._large, (now, old)], key=lambda pair: pair[0].size)[:LARGE_SAMPLE]
            return
        self.counts["changed"] += 1
        if small and len(self._sample) < SAMPLE:
            self._sample.append((now, old))
        elif small and (place := random.randrange(self.counts["changed"])) < SAMPLE:  # noqa: S311 - a sample
            self._sample[place] = (now, old)

    def _share_rewritten(self, sample: list[tuple[Entry, Entry]]) -> float:
        """Return the share of a sample whose content has changed indeed."""
        differing, looked_at = 0, 0
        for now, old in sample:
            self.cancellation.check()
            try:
                digest = now.sha256 or self.tree.read(now, sha256_of)[1]
            except OSError as error:
                why_unreadable(error)
                continue
            looked_at += 1
            differing += digest != old.sha256
        return differing / looked_at if looked_at else float(not sample)

    def _note_removed(self, old: Entry) -> None:
        if old.type == FileType.FILE:
            self.counts["vanished"] += 1
            if (known := identity(old)) and len(self._removed) < RENAMES_COUNTED:
                self._removed.append(hash(known))

    def _note_added(self, now: Entry) -> None:
        if now.type == FileType.FILE and self.previous and len(self._added) < RENAMES_COUNTED:
            self._added.add(hash(identity(now)))


def _is_untouched(now: Entry, old: Entry) -> bool:
    """Check whether a path is unchanged, as nearly all are: all but the names of owners changes the ctime too."""
    return (
        now.ctime_ns == old.ctime_ns > 0
        and now.inode == old.inode
        and now.device == old.device
        and now.size == old.size
        and now.mtime_ns == old.mtime_ns
        and not now.outcome
        and not old.outcome
        and now.sha256 in ("", old.sha256)  # another backup's, which found it changed in silence
        and now.user == old.user
        and now.group == old.group
    )


def _is_touched(now: Entry, old: Entry) -> bool:
    return now.ctime_ns != old.ctime_ns or now.ctime_ns == YOUNG or now.inode != old.inode or now.device != old.device


def _as_known(now: Entry, old: Entry | None) -> Entry:
    """Fill in, for a path that could not even be looked at, the attributes that were seen last.

    A version of an object that was archived since is the one that is stored.
    """
    if old is None:
        return now
    if now.outcome == Outcome.UNREADABLE and now.etag == old.etag != "" and old.stored:
        return now._replace(outcome="", reason="")
    return now if now.has_attributes else old._replace(outcome=now.outcome, reason=now.reason)


def _is_misplaced(now: Entry, old: Entry, found: Found | None) -> bool:
    """Check whether the current state shows something else than the previous backup stored."""
    if now.type != FileType.FILE:
        return found is not None and not old.stored
    return old.stored and not old.hashed_key and (found is None or found.version != old.version)


def planned(plan: BackupReader) -> Iterator[Step]:
    """Read what `Step.to_line` wrote."""
    for _, document in documents(plan):
        action, stored = Action(document.pop("action")), document.pop("stored", "")
        yield Step(action, from_document(document), stored)
