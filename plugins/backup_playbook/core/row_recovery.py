"""Recovery of deleted rows and their dependent rows: where to look for them, conflicts, what to do.

Pure: the engine reads, this decides and says it in words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Literal

from pydantic import BaseModel, ConfigDict

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.markdown import cell
from backup_playbook.core.words import EngineWords, counted

TableName = tuple[str, str]
"""Namespace and name."""
Action = Literal["cascade", "set null", "set default", "restrict", "no action"]
OnConflict = Literal["stop", "skip", "overwrite"]
State = Literal["missing", "equal", "differs", "taken"]
"""State of a row in production: absent, as in the backup, another row has its key, or one of its unique values."""


class RowRecoveryError(PlaybookError):
    """A request that makes no sense, or cannot be met without loss; nothing was touched."""


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key: child_columns of `child` refer to parent_columns of `parent`, in this order.

    operators: by which each of the parent's is compared with the child's; it may be that of an extension (citext).
    partial: one partition of the child has it, the others need not.
    """

    name: str
    child: TableName
    child_columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    on_delete: Action
    operators: tuple[str, ...]
    on_update: Action = "no action"
    partial: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a table.

    type: as SQL writes it. cast: the same without a length, which a cast would cut values to. required: a row without a
    value for it is refused.
    """

    type: str
    cast: str
    generated: bool
    identity: Literal["", "a", "d"]
    required: bool
    nullable: bool = True


@dataclass(frozen=True)
class TableShape:
    """A table without its rows.

    key: columns of the primary key; empty when there is none. key_operators: by which each is compared.
    """

    name: TableName
    partitioned: bool
    key: tuple[str, ...]
    key_operators: tuple[str, ...]
    columns: Mapping[str, Column]

    @property
    def label(self) -> str:
        """Name for people."""
        return label(self.name)

    @property
    def stored(self) -> list[str]:
        """Columns that a row brings its own values for."""
        return [name for name, column in self.columns.items() if not column.generated]


@dataclass(frozen=True)
class Condition:
    """A condition after WHERE, as production's server has understood it; see `engines.postgres.row_condition`.

    sql: every name in it with its schema. columns: those that it names. plain: whether rows can be judged by it while
    they are loaded. functions: of the application, with the digest of what they do. settings: of production's session.
    """

    sql: str
    columns: frozenset[str]
    plain: bool
    functions: Mapping[str, str]
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Selection:
    """Rows to recover: by the values of the primary key, as text, or by a condition on the table's columns."""

    keys: tuple[tuple[str, ...], ...] = ()
    where: str = ""
    condition: Condition | None = None


def label(table: TableName) -> str:
    """Name of a table for people."""
    return ".".join(table)


def select_rows(keys: Sequence[str], where: str, table: TableShape) -> Selection:
    """Selection from a form.

    keys: a value each; for a key of several columns, a JSON array or object each. Raises RowRecoveryError.
    """
    where = where.strip()
    if bool(keys) == bool(where):
        raise RowRecoveryError(
            f"Which rows of {table.label}? The form names {'keys and a condition' if where else 'none'}.",
            "Give either `keys` or `where`.",
        )
    if not table.key:
        raise RowRecoveryError(
            f"{table.label} has no primary key: nobody could tell its rows apart.",
            "Restore the table into a database of its own, and copy the rows manually.",
        )
    return Selection(tuple(dict.fromkeys(parse_key(key, table.label, table.key) for key in keys)), where)


def parse_key(text: str, table: str, key: Sequence[str]) -> tuple[str, ...]:
    """Values of one key from its text.

    key: columns of the primary key. Raises RowRecoveryError.
    """
    if len(key) == 1:
        return (text,)
    try:
        values = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        values = None
    if isinstance(values, dict) and values.keys() == set(key):
        values = [values[name] for name in key]
    if not isinstance(values, list) or len(values) != len(key) or not all(isinstance(v, str) for v in values):
        raise RowRecoveryError(
            f"{text!r} is no key of {table}, which has the columns {', '.join(key)}.",
            f"Write each key as a JSON array of its values in this order: {json.dumps(['...'] * len(key))}.",
        )
    return tuple(values)


def cascades(links: Iterable[ForeignKey]) -> list[ForeignKey]:
    """Foreign keys by which the deletion of a row deletes dependent rows."""
    return [link for link in links if link.on_delete == "cascade"]


def search_order(root: TableName, links: Sequence[ForeignKey]) -> list[frozenset[TableName]]:
    """Tables with dependent rows of `root`, step after step, parents before their children.

    Tables that lead to each other in a circle are in one step.
    """
    below = {table: _reach(table, links) for table in {root} | _reach(root, links)}
    groups = {table: frozenset({table} | {other for other in below[table] if table in below[other]}) for table in below}
    order: TopologicalSorter[frozenset[TableName]] = TopologicalSorter({group: set() for group in groups.values()})
    for link in links:
        if link.parent in groups and groups[link.child] != groups[link.parent]:
            order.add(groups[link.child], groups[link.parent])
    order.prepare()
    steps = []
    while ready := order.get_ready():
        steps.append(frozenset().union(*ready))
        order.done(*ready)
    return steps


def _reach(table: TableName, links: Sequence[ForeignKey]) -> set[TableName]:
    found: set[TableName] = set()
    waiting = [table]
    while waiting:
        parent = waiting.pop()
        for link in links:
            if link.parent == parent and link.child not in found:
                found.add(link.child)
                waiting.append(link.child)
    return found


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


def column_conflicts(then: TableShape, now: TableShape) -> Iterator[Conflict]:
    """Conflicts of columns that changed since the backup."""
    for name, column in then.columns.items():
        if column.generated:
            continue
        if name not in now.columns or now.columns[name].generated:
            yield Conflict(
                table=now.label,
                kind="column dropped",
                what=f"The column {name} of the backup is no column with values any more.",
                choices="`skip` or `overwrite` leaves its values out; they stay in the backup.",
                solved_by=("skip", "overwrite"),
            )
        elif now.columns[name].type != column.type:
            yield Conflict(
                table=now.label,
                kind="column retyped",
                what=f"The column {name} was {column.type} and is {now.columns[name].type}.",
                choices="`skip` or `overwrite` converts its values by their text: numbers and times are "
                "rounded to what it holds now, and what does not fit at all stops it.",
                solved_by=("skip", "overwrite"),
            )
    for name, column in now.columns.items():
        if name not in then.columns and column.required:
            yield Conflict(
                table=now.label,
                kind="column added",
                what=f"The column {name} is new, and a row must have a value for it.",
                choices="Give the column a default, or allow NULL, until the rows are back.",
            )


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
