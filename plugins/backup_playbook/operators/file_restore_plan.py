"""What a restore of files will do, looked at beforehand and left for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.markdown import cell
from backup_playbook.operators.file_restore import IN_PLACE, FilesRestoreStep, address_of, left_out, wanted_path
from backup_playbook.operators.restore import TestedBackup

if TYPE_CHECKING:
    from backup_playbook.core.tree import Entry
    from backup_playbook.engines.files.unrestored import Unrestored

EXAMPLES = 10
IMPOSSIBLE_THERE = "cannot be there: the log of `restore` will have a command for each that fetches it"
LEFT_OUT_HERE = "are left out, as the form says"


class PlanFilesRestore(FilesRestoreStep):
    """Look at what will come back, and leave the plan for people."""

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.core.progress import human_age
        from backup_playbook.dag_parts.approval import IN_SHORT, PLAN

        form: Any = context["params"]
        with self.reader() as reader:
            taken = reader.manifest.snapshot_at
        short, lines = self._in_place(context) if form["destination"] == IN_PLACE else self._elsewhere(context)
        in_short = f"{form['path'] or 'everything'}, as of {taken:%Y-%m-%d %H:%M} UTC: {short}"
        unsound = "It is not known to be sound: what is damaged does not come back, and is named."
        shows = [
            f"The backup {self.tested['backup_id']} is {human_age(datetime.now(UTC) - taken)} old.",
            *([unsound] if self.tested["unverified"] else []),
            *([self.tested["remark"]] if self.tested["remark"] else []),
        ]
        plan = "\n".join([f"**{cell(in_short)}**", "", " ".join(shows), *lines])
        self.log.info("%s", plan)
        context["ti"].xcom_push(PLAN, plan)
        context["ti"].xcom_push(IN_SHORT, in_short)
        return self.tested

    def _elsewhere(self, context: Context) -> tuple[str, list[str]]:
        from backup_playbook.core.tree import FileType, placed
        from backup_playbook.engines.files import shards
        from backup_playbook.engines.files.unrestored import Unrestored

        form: Any = context["params"]
        stored, others, empty, impossible, without = (Outlook() for _ in range(5))
        place = self.new_place(context)
        to_directory = hasattr(place, "root")
        with self.reader() as reader:
            lost = Unrestored(reader)
            is_left_out = shards.left_out(reader, left_out(form))

            def wanted() -> Iterator[Entry]:
                for entry in shards.below(reader, shards.resolve(reader, wanted_path(form)), lost.shard):
                    if is_left_out(entry):
                        without.add(entry)
                    else:
                        yield entry

            for entry, reason in placed(wanted()):
                if reason and to_directory and (entry.stored or entry.type == FileType.SYMLINK):
                    impossible.add(entry)
                elif entry.stored:
                    stored.add(entry)
                else:
                    (others if entry.type in (FileType.DIRECTORY, FileType.SYMLINK) else empty).add(entry)
        more = [f"Folders and links: {others.files:,}."] if others.files else []
        rows = _rows(
            ("have no content in this backup, and do not come back", empty),
            (IMPOSSIBLE_THERE, impossible),
            (LEFT_OUT_HERE, without),
        )
        return f"{_files(stored.files, stored.bytes)} into {address_of(place)}", [*more, *_unknown(lost), *rows]

    def _in_place(self, context: Context) -> tuple[str, list[str]]:
        from backup_playbook.engines.files.restore import (
            IMPOSSIBLE,
            KEPT_NEWER,
            MISSING,
            OTHER_ATTRIBUTES,
            REPLACED,
            RIGHT_ALREADY,
        )
        from backup_playbook.engines.files.unrestored import Unrestored

        form: Any = context["params"]
        kinds = (MISSING, REPLACED, KEPT_NEWER, RIGHT_ALREADY, OTHER_ATTRIBUTES, IMPOSSIBLE)
        outlook = {kind: Outlook() for kind in kinds}
        with self.restoring(context) as work:
            lost = Unrestored(work.reader)
            for what, entry in work.preview(lost):
                outlook[what].add(entry)
        missing, replaced, newer, right, otherwise, impossible = outlook.values()
        aside = f"`.replaced-{self.tested['backup_id']}/` there"
        rows = _rows(
            ("are missing and come back", missing),
            (f"differ: they are replaced, and what is there now goes to {aside}", replaced),
            ("were written after the backup, and stay (*Overwrite newer* replaces them)", newer),
            ("look as backed up, and stay", right),
            ("look as backed up, but for their modes, owners or times, which stay, too", otherwise),
            (IMPOSSIBLE_THERE, impossible),
        )
        without = [f"Left out: {', '.join(map(cell, left_out(form)))}."] if left_out(form) else []
        short = f"{_files(missing.files, missing.bytes)} missing, {replaced.files:,} replaced, {newer.files:,} newer"
        return f"{short}, in place in {self.live_directory()}", [
            *rows, "", "Nothing is deleted.", *without, *_unknown(lost)
        ]  # fmt: skip


@dataclass
class Outlook:
    """Files that fare alike."""

    files: int = 0
    bytes: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        self.files += 1
        self.bytes += entry.size
        if len(self.examples) < EXAMPLES:
            self.examples.append(entry.name)

    def names(self) -> str:
        return ", ".join(map(cell, self.examples)) + (", ..." if self.files > len(self.examples) else "")


def _rows(*kinds: tuple[str, Outlook]) -> list[str]:
    rows = [f"| {one.files:,} | {words} | {one.names()} |" for words, one in kinds if one.files]
    return ["", "| files and links | | the first of them |", "|---:|---|---|", *rows] if rows else []


def _unknown(lost: Unrestored) -> list[str]:
    from backup_playbook.core.markdown import cell

    return [f"**Not known, and not restored:** {cell(problem)}" for problem in lost.told]


def _files(count: int, size: int) -> str:
    from backup_playbook.core.holdings import counted
    from backup_playbook.core.progress import human_bytes

    return f"{counted(count, 'file')} ({human_bytes(size)})"
