"""Execution of a plan: contents into the bucket, delete markers, and the tree as it is then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from backup_playbook.core.details import Example
from backup_playbook.core.errors import SourceError
from backup_playbook.core.files_guard import DeleteLimits, Losses, reason_to_stop
from backup_playbook.core.tree import Entry, FileType, Outcome, from_document, key_of, merge, to_line
from backup_playbook.engines.files.batches import in_order
from backup_playbook.engines.files.contents import Contents, How, unread
from backup_playbook.engines.files.plan import Action, Identity, Step, identity, planned
from backup_playbook.engines.files.shards import ShardWriter, documents
from backup_playbook.engines.files.trees import Tree
from backup_playbook.repository.objects import BackupReader, BackupWriter
from backup_playbook.repository.small_objects import SMALL_BYTES
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation

LARGE_AT_ONCE = 2
"""Large files at once: each has several parts of 8 MiB in memory."""
WINDOW = 10_000
"""Entries that may be finished while the first of them is still uploaded."""
EXAMPLES = 20
FOLDERS_COUNTED = 1000
RENAMES_COPIED = 50_000
"""Most vanished files whose contents the store copies; others are uploaded."""


class _Done(NamedTuple):
    """A finished entry. line: as the previous backup has it; empty when it is new."""

    entry: Entry
    line: bytes
    how: How | None = None
    old: Entry | None = None


_Slot = _Done | Future[_Done]


@dataclass
class Sync:
    """One run of one plan. store: with the storage class of the files. before: files in the previous backup.

    anew, outdated: see Contents. folders: counts of files by the first folders at the top of the tree.
    examples: the first paths that were not backed up as they should.
    """

    tree: Tree
    store: ObjectStore
    writer: BackupWriter
    previous: BackupReader | None
    files_at_once: int
    cancellation: Cancellation
    limits: DeleteLimits
    before: int
    anew: bool = False
    outdated: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    _stale: list[str] = field(default_factory=list)
    """Keys that get a delete marker at the end."""

    def run(self, plan: BackupReader) -> ShardWriter:
        """Carry out the plan; return the tree's shards. Deletions come last: until then, everything is still there."""
        shards = ShardWriter(self.writer, "tree")
        contents = Contents(
            self.tree, self.store, self.writer.source, self.writer.backup_id,
            {} if self.anew else _removed(plan), self.cancellation, self.anew, self.outdated,
        )  # fmt: skip
        small = ThreadPoolExecutor(self.files_at_once, thread_name_prefix="small-file")
        large = ThreadPoolExecutor(LARGE_AT_ONCE, thread_name_prefix="large-file")
        try:
            for done in in_order(self._slots(plan, contents, small, large), WINDOW):
                self._finish(done, shards)
        finally:
            for threads in (small, large):
                threads.shutdown(cancel_futures=True)
        shards.flush()
        self._refuse_losses()
        self._delete(plan)
        return shards

    def _slots(
        self, plan: BackupReader, contents: Contents, small: ThreadPoolExecutor, large: ThreadPoolExecutor
    ) -> Iterator[_Slot]:
        before = () if self.previous is None else documents(self.previous)
        before_entries = ((line, from_document(document)) for line, document in before)
        paired = merge(
            before_entries, planned(plan), left_path=lambda one: one[1].path, right_path=lambda one: one.entry.path
        )

        def keep(step: Step, old: Entry | None) -> _Done:
            entry, how = contents.keep(step, old)
            known = how is How.UNREAD and step.entry.outcome == Outcome.UNREADABLE
            return _Done(entry, b"", None if known else how, old)  # the guard has seen it

        for known, step in paired:
            self.cancellation.check()
            old = known[1] if known else None
            if step is None:
                assert known is not None
                line, was = known[0] + b"\n", known[1]
                yield small.submit(_unplanned, contents, was, line) if self.anew and was.stored else _Done(was, line)
                continue
            action, now = step.action, step.entry
            if action is Action.REMOVE:
                continue
            if action is Action.HEAL and now.type != FileType.FILE:
                self._stale.append(key_of(self.writer.source, now))
            if action is Action.TOUCH and old:
                yield _Done(_touched(now, old), b"", None, old)
            elif now.type != FileType.FILE or now.outcome == Outcome.NAMELESS:
                yield _Done(now, b"", None, old)
            elif now.outcome == Outcome.UNREADABLE and not now.stored:
                yield small.submit(_not_read, contents, now, old)
            else:
                yield (small if now.size <= SMALL_BYTES else large).submit(keep, step, old)

    def _finish(self, done: _Done, shards: ShardWriter) -> None:
        entry, old = done.entry, done.old
        if hidden := self._hidden(done):
            self._stale.append(key_of(self.writer.source, hidden))
        if done.how:
            self.counts[done.how.value] += 1
        if done.how is How.GONE:
            self.counts["stored_before"] += bool(old and old.stored)
            return
        if done.how is How.UNREAD:
            self.counts["lost"] += not (old and old.outcome == Outcome.UNREADABLE)
        if entry.added == self.writer.backup_id and entry.stored:
            self.counts["new_bytes"] += entry.size
        self.counts[f"type_{entry.type}"] += 1
        self.counts["bytes"] += entry.size if entry.stored else 0
        self.counts["hard_links"] += entry.links > 1
        if entry.stored:
            self._count_folder(entry)
        if entry.outcome or done.how is How.SILENT:
            self._note(entry, done.how)
        shards.add(entry.path, done.line or to_line(entry))

    def _count_folder(self, entry: Entry) -> None:
        folder = entry.path.partition(b"/")[0].decode(errors="replace") + "/" if b"/" in entry.path else "./"
        if folder in self.folders or len(self.folders) < FOLDERS_COUNTED:
            self.folders[folder] += 1

    def _hidden(self, done: _Done) -> Entry | None:
        """Return what a listing shall show no more: no longer a file, or stored beside the current state."""
        entry, old = done.entry, done.old
        if self.outdated:
            return entry if entry.stored and entry.natural_key and entry.added == self.writer.backup_id else None
        changed = done.how is How.GONE or not entry.stored or (old and entry.hashed_key != old.hashed_key)
        return old if old and old.stored and changed else None

    def _note(self, entry: Entry, how: How | None) -> None:
        if entry.outcome:
            self.counts[f"outcome_{entry.outcome}"] += 1
        if len(self.examples) < EXAMPLES:
            reason = entry.reason or "its content changed, although its size, time and inode did not"
            outcome = entry.outcome or (how or How.SILENT).value
            self.examples.append(Example(path=entry.name, outcome=outcome, reason=reason))

    def _refuse_losses(self) -> None:
        """Raise SourceError for losses after the scan, which the guard has not seen: a mount can go away."""
        found = Losses(self.before, self.counts["stored_before"], 0, self.counts["lost"], now=self.counts["type_file"])
        if reason := reason_to_stop(found, self.limits):
            raise SourceError(
                f"While it was backed up, files vanished, or could not be read. {reason}",
                "Nothing was deleted. See whether the source is mounted, whole, and may be read; then start a new run, "
                "whose guard asks a person when they stay away. What only reading shows, its guard cannot see: when it "
                "shall be so, raise `delete_guard` of this source.",
            )

    def _delete(self, plan: BackupReader) -> None:
        if self.outdated:
            self.store.delete(self._stale)
            return
        removed = (step.entry for step in planned(plan) if step.action is Action.REMOVE and step.entry.stored)
        keys = (key_of(self.writer.source, entry) for entry in removed)
        self.counts["deleted"] += self.store.delete(keys) + self.store.delete(self._stale)


def _removed(plan: BackupReader) -> dict[Identity, Entry]:
    found: dict[Identity, Entry] = {}
    for action, entry, _ in planned(plan):
        known = identity(entry) if action is Action.REMOVE and entry.stored else None
        if known and len(found) < RENAMES_COPIED:
            found[known] = entry
    return found


def _touched(now: Entry, old: Entry) -> Entry:
    """Combine new attributes with what is known of the unchanged content."""
    # a listing tells no headers; a backup that is copied does
    headers = now.object_headers if now.stored else old.object_headers
    return now.with_content_of(old)._replace(object_headers=headers)


def _unplanned(contents: Contents, was: Entry, line: bytes) -> _Done:
    """Keep a path below a folder that cannot be looked into."""
    fault = contents.fault(was)
    bare = was.with_content_of(Entry(was.path, was.type, size=was.size))
    return _Done(unread(bare, None, fault), b"", None, was) if fault else _Done(was, line)


def _not_read(contents: Contents, now: Entry, old: Entry | None) -> _Done:
    return _Done(contents.unread(now, old, now.reason), b"", None, old)
