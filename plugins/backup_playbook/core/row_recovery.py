"""Recovery of deleted rows and their dependent rows: where to look for them, conflicts, what to do.

Pure: the engine reads, this decides and says it in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.markdown import cell
from backup_playbook.core.words import EngineWords, counted

OnConflict = Literal["stop", "skip", "overwrite"]
State = Literal["missing", "equal", "differs", "taken"]
"""State of a row in production: absent, as in the backup, another row has its key, or one of its unique values."""


class RowRecoveryError(PlaybookError):
    """A request that makes no sense, or cannot be met without loss; nothing was touched."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Conflict(_Record):
    """An obstacle to the recovery of rows.

    solved_by: the values of `on_conflict` that go on nevertheless, as `choices` says. rows: by their keys; for the plan
    that is approved, as they may be names of people. what: goes into logs.
    """

    table: str
    kind: Literal[
        "key reused",
        "unique value taken",
        "unique values exchanged",
        "identity differs",
        "references would go",
        "rewrite rule",
        "parent gone",
        "column added",
        "column dropped",
        "column retyped",
        "no primary key",
        "table gone",
    ]
    what: str
    choices: str
    solved_by: tuple[OnConflict, ...] = ()
    rows: tuple[str, ...] = ()


class PreviewRow(_Record):
    """A row of the backup. key, values: shortened for people."""

    key: str
    state: State
    values: str


class TablePreview(_Record):
    """Rows of a table in the backup: their number by state in production, and the first of them."""

    table: str
    counts: dict[State, int]
    rows: tuple[PreviewRow, ...] = ()

    def written(self, on_conflict: OnConflict) -> tuple[int, int]:
        """Number of rows that will be inserted, and of those that will be overwritten."""
        return self.counts.get("missing", 0), self.counts.get("differs", 0) if on_conflict == "overwrite" else 0


class Preview(_Record):
    """A planned recovery of rows.

    fingerprint: of the rows and of what production has in their place; the import refuses when it has changed.
    words: nouns for tables and rows. cut: references to these rows, which the deletion set to NULL.
    """

    tables: tuple[TablePreview, ...]
    conflicts: tuple[Conflict, ...]
    remarks: tuple[str, ...]
    fingerprint: str
    cut: tuple[str, ...] = ()
    words: EngineWords = EngineWords()

    def stopping(self, on_conflict: OnConflict) -> list[Conflict]:
        """Conflicts that `on_conflict` does not solve."""
        return [item for item in self.conflicts if on_conflict not in item.solved_by]

    def require_clear(self, on_conflict: OnConflict) -> None:
        """Raise RowRecoveryError that names all conflicts which `on_conflict` does not solve, with their choices."""
        if stopping := self.stopping(on_conflict):
            lines = [f"{item.table}: {item.kind}: {item.what} {item.choices}" for item in stopping]
            raise RowRecoveryError(
                "\n".join([f"Nothing was touched, for {counted(len(stopping), 'conflict')}:", *lines]),
                "Choose for each of them as it says, and start again: the plan names the rows, and waits for approval.",
            )

    def in_short(self, on_conflict: OnConflict) -> str:
        """Sentences for messages."""
        written = [item.written(on_conflict) for item in self.tables]
        inserted, overwritten = (sum(counts[which] for counts in written) for which in (0, 1))
        rows, tables = counted(inserted, self.words.row), counted(len(self.tables), self.words.table)
        cut = f" Not restored: {not_restored(self.cut)}." if self.cut else ""
        return f"{rows} of {tables} will be inserted, {overwritten:,} overwritten.{cut}"

    def without_rows(self) -> Preview:
        """Preview for logs and reports: no values of rows, and no keys."""
        tables = tuple(item.model_copy(update={"rows": ()}) for item in self.tables)
        conflicts = tuple(item.model_copy(update={"rows": ()}) for item in self.conflicts)
        return self.model_copy(update={"tables": tables, "conflicts": conflicts})

    def to_markdown(self, on_conflict: OnConflict) -> str:
        """Page for the approval; `without_rows`, for the log."""
        lines = [f"| {self.words.table} | missing: inserted | differs | equal: left | taken |", "|---|---|---|---|---|"]
        fate = "overwritten" if on_conflict == "overwrite" else "left"
        for item in self.tables:
            missing, differs, equal, taken = (
                item.counts.get(state, 0) for state in ("missing", "differs", "equal", "taken")
            )
            lines.append(
                f"| {cell(item.table)} | {missing:,} | {differs:,} {fate if differs else ''} | {equal:,} | {taken:,} |"
            )
        for item in self.tables:
            if item.rows:
                lines += _rows_table(item)
        lines += ["", *(f"- {cell(' '.join(_in_full(item)))}" for item in self.conflicts)]
        return "\n".join([*lines, *(f"- {cell(remark)}" for remark in self.remarks)])


def _rows_table(table: TablePreview) -> Iterator[str]:
    yield from ["", f"**{cell(table.table)}**", "", "| key | in production | in the backup |", "|---|---|---|"]
    yield from (f"| {cell(row.key)} | {row.state} | {cell(row.values)} |" for row in table.rows)
    if (more := sum(table.counts.values()) - len(table.rows)) > 0:
        yield f"| ... | | and {more:,} more |"


def _in_full(conflict: Conflict) -> Iterator[str]:
    yield f"{conflict.table}: {conflict.kind}: {conflict.what}"
    if conflict.rows:
        yield f"({'; '.join(conflict.rows)})."
    yield conflict.choices


def not_restored(cut: Sequence[str]) -> str:
    """References that do not come back, in words. cut: of a preview, or of an import."""
    return f"references that the deletion set to NULL ({', '.join(cut)})"


class RecoveredRows(_Record):
    """Result of an import: rows by table, and the place of the script that undoes it. cut: as in the preview."""

    inserted: dict[str, int]
    overwritten: dict[str, int]
    sequences: tuple[str, ...]
    finished_at: datetime
    undo: str
    cut: tuple[str, ...] = ()
