"""Tables of deleted rows: their shapes and foreign keys, and the selection of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Literal

from backup_playbook.core.row_recovery import Conflict, RowRecoveryError

TableName = tuple[str, str]
"""Namespace and name."""
Action = Literal["cascade", "set null", "set default", "restrict", "no action"]


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
