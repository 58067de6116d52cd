"""The outlook of a restore of files: what it will do, looked at beforehand, in the words of a plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from backup_playbook.core.markdown import cell
from backup_playbook.core.progress import human_bytes
from backup_playbook.core.tree import Entry, FileType, placed
from backup_playbook.core.words import counted
from backup_playbook.engines.destination import FilesPlan
from backup_playbook.engines.files import restore
from backup_playbook.engines.files.shards import below, left_out, resolve
from backup_playbook.engines.files.unrestored import Unrestored
from backup_playbook.repository.objects import BackupReader

EXAMPLES = 10
_STORED, _OTHERS, _EMPTY, _LEFT_OUT = "stored", "others", "empty", "left_out"
_ROWS = {
    restore.MISSING: "are missing and come back",
    restore.REPLACED: "differ: they are replaced, and what is there now goes to `.replaced-{backup_id}/` there",
    restore.KEPT_NEWER: "were written after the backup, and stay (*Overwrite newer* replaces them)",
    restore.RIGHT_ALREADY: "look as backed up, and stay",
    restore.OTHER_ATTRIBUTES: "look as backed up, but for their modes, owners or times, which stay, too",
    _EMPTY: "have no content in this backup, and do not come back",
    restore.IMPOSSIBLE: "cannot be there: the log of `restore` will have a command for each that fetches it",
    _LEFT_OUT: "are left out, as the form says",
}
"""What is said of files that fare alike, in the order of the table."""


@dataclass
class Alike:
    """Files that fare alike."""

    files: int = 0
    bytes: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Count one more."""
        self.files += 1
        self.bytes += entry.size
        if len(self.examples) < EXAMPLES:
            self.examples.append(entry.name)

    def __str__(self) -> str:
        return f"{counted(self.files, 'file')} ({human_bytes(self.bytes)})"


def plan_new(reader: BackupReader, path: bytes, without: Sequence[str], address: str, *, in_bucket: bool) -> FilesPlan:
    """Look at what comes into a new place. path, without: as of FilesRestore. in_bucket: it can hold any key."""
    found: dict[str, Alike] = defaultdict(Alike)
    lost, is_left_out = Unrestored(reader), left_out(reader, without)

    def wanted() -> Iterator[Entry]:
        for entry in below(reader, resolve(reader, path), lost.shard):
            if is_left_out(entry):
                found[_LEFT_OUT].add(entry)
            else:
                yield entry

    for entry, reason in placed(wanted()):
        if reason and not in_bucket and (entry.stored or entry.type == FileType.SYMLINK):
            found[restore.IMPOSSIBLE].add(entry)
        elif entry.stored:
            found[_STORED].add(entry)
        else:
            found[_OTHERS if entry.type in (FileType.DIRECTORY, FileType.SYMLINK) else _EMPTY].add(entry)
    more = [f"Folders and links: {found[_OTHERS].files:,}."] if found[_OTHERS].files else []
    return FilesPlan(f"{found[_STORED]} into {address}", [*more, *_unknown(lost), *_rows(found, reader)])


def plan_in_place(work: restore.FilesRestore) -> FilesPlan:
    """Look at what becomes of the files that are there."""
    found: dict[str, Alike] = defaultdict(Alike)
    lost = Unrestored(work.reader)
    for what, entry in work.preview(lost):
        found[what].add(entry)
    replaced, newer = found[restore.REPLACED].files, found[restore.KEPT_NEWER].files
    without = [f"Left out: {', '.join(map(cell, work.without))}."] if work.without else []
    return FilesPlan(
        f"{found[restore.MISSING]} missing, {replaced:,} replaced, {newer:,} newer, in place in {work.place.root}",
        [*_rows(found, work.reader), "", "Nothing is deleted.", *without, *_unknown(lost)],
    )


def _rows(found: dict[str, Alike], reader: BackupReader) -> list[str]:
    rows = []
    for kind, words in _ROWS.items():
        if (some := found[kind]).files:
            names = ", ".join(map(cell, some.examples)) + (", ..." if some.files > len(some.examples) else "")
            rows.append(f"| {some.files:,} | {words.format(backup_id=reader.manifest.backup_id)} | {names} |")
    return ["", "| files and links | | the first of them |", "|---:|---|---|", *rows] if rows else []


def _unknown(lost: Unrestored) -> list[str]:
    return [f"**Not known, and not restored:** {cell(problem)}" for problem in lost.told]
