"""What a backup has to do: the differences between the tree now and the tree of the previous backup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter

from backup_playbook.core.files_guard import Losses
from backup_playbook.core.tree import Entry, FileType, Outcome, from_document, merge
from backup_playbook.engines.files.base import is_leftover
from backup_playbook.engines.files.shards import documents
from backup_playbook.engines.files.trees import Tree
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

RENAMES_TRACKED = 50_000
"""Of more new files, or of more that vanished, renames are not recognised: they are uploaded again."""


class Action(StrEnum):
    """What becomes of a path; one that the plan does not name stays as it is."""

    ADD = "add"
    CHANGE = "change"
    """Its content may differ: it is read."""
    TOUCH = "touch"
    """Only its attributes differ."""
    REMOVE = "remove"


Identity = tuple[int, int, int]
_PATH: Callable[[Entry], bytes] = attrgetter("path")


def identity(entry: Entry) -> Identity | None:
    """What a file keeps when it is renamed; None for what has no content to keep."""
    return (entry.inode, entry.size, entry.mtime_ns) if entry.inode and entry.size else None


@dataclass
class Plan:
    """Yields the differences once; afterwards `losses` and `counts` are complete.

    rehash: read the content of every file, for a disk that rots tells nobody. leftovers: what else is in the current
    state: it goes when the tree does not have it.
    """

    tree: Tree
    previous: BackupReader | None
    rehash: bool
    cancellation: Cancellation
    leftovers: Iterable[Entry] = ()
    counts: Counter[str] = field(default_factory=Counter)
    _added: set[int] = field(default_factory=set)
    _removed: Counter[int] = field(default_factory=Counter)

    def differences(self) -> Iterator[tuple[Action, Entry]]:
        kept = b""
        paired = merge(self.tree.scan(self.cancellation), self._before(), left_path=_PATH, right_path=_PATH)
        for now, old in paired:
            self._count(now, old)
            if now is None:
                assert old is not None
                if kept and old.path.startswith(kept):
                    continue
                self._note(old, self._removed)
                yield Action.REMOVE, old
                continue
            now = _as_known(now, old)
            if now.outcome == Outcome.UNREADABLE and now.is_directory:
                kept = now.path  # nobody knows what is below: it is not gone
            if action := self._action(now, old):
                yield action, now

    def _before(self) -> Iterable[Entry]:
        known = () if self.previous is None else (from_document(document) for _, document in documents(self.previous))
        if not self.leftovers:
            return known
        paired = merge(known, self.leftovers, left_path=_PATH, right_path=_PATH)
        return (entry or leftover for entry, leftover in paired)  # type: ignore[misc]

    @property
    def losses(self) -> Losses:
        renamed = sum(count for known, count in self._removed.items() if known in self._added)
        return Losses(self.counts["files_before"], self.counts["vanished"] - renamed, self.counts["emptied"])

    def _action(self, now: Entry, old: Entry | None) -> Action | None:
        if old is None or is_leftover(old):
            self._note(now, self._added)
            return Action.ADD
        is_file = now.type == FileType.FILE
        if now.type != old.type or (is_file and (self.rehash or not now.same_content(old))):
            return Action.CHANGE
        same = now.same_attributes(old) and (now.target, now.outcome) == (old.target, old.outcome)
        return None if same else Action.TOUCH

    def _count(self, now: Entry | None, old: Entry | None) -> None:
        self.counts["entries"] += now is not None
        if old and old.type == FileType.FILE:
            self.counts["files_before"] += 1
            self.counts["emptied"] += bool(now and old.size and not now.size and not now.outcome)

    def _note(self, entry: Entry, seen: set[int] | Counter[int]) -> None:
        if entry.type != FileType.FILE:
            return
        if seen is self._removed:
            self.counts["vanished"] += 1
        known = identity(entry)
        if self.previous is None or known is None or len(seen) >= RENAMES_TRACKED:
            return
        if isinstance(seen, Counter):
            seen[hash(known)] += 1
        else:
            seen.add(hash(known))


def _as_known(now: Entry, old: Entry | None) -> Entry:
    """Of a path that could not even be looked at, the attributes are the last ones that were seen."""
    if now.has_attributes or old is None or is_leftover(old):
        return now
    return old._replace(outcome=now.outcome, reason=now.reason)
