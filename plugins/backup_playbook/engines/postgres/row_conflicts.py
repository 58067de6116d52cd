"""Conflicts of found rows with production: seen and named before anything is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from psycopg import errors

from backup_playbook.core.row_recovery import Conflict
from backup_playbook.core.row_tables import ForeignKey, label
from backup_playbook.core.words import counted
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.row_catalog import (
    UniqueConstraint,
    columns_of,
    read_constraints,
    read_rules,
    read_shape,
    read_triggers,
    refers,
    rows_of,
)
from backup_playbook.engines.postgres.row_staging import STATE, StagedTable, Staging, texts_of
from backup_playbook.engines.postgres.row_writing import park, parking

ROWS_SHOWN = 20


def find_conflicts(staging: Staging) -> Iterator[Conflict]:
    """Find all conflicts, and decide how rows are overwritten."""
    for table in staging.tables:
        constraints = read_constraints(staging.live, table.live.name)
        yield from _taken(staging, table, constraints)
        yield from _choose_way(staging, table, constraints)
        yield from _references(staging, table)
        yield from _rules(staging, table)
    yield from _reused(staging)
    yield from _orphans(staging)


class _Meetings:
    """Pairs of rows that are to be written, and others of production that have their unique values now."""

    def __init__(self, staging: Staging, table: StagedTable, constraint: UniqueConstraint) -> None:
        self._staging, self._table = staging, table
        names = [quoted(f"backup_playbook {number}") for number in range(len(constraint.expressions))]
        values = ", ".join(f"{text} AS {name}" for text, name in zip(constraint.expressions, names, strict=True))
        meets = constraint.meet("s", "t", names)
        inner = f"SELECT {values}, {columns_of('x', table.key)} FROM {{}} x WHERE ({constraint.condition})"
        written = f"{inner.format(table.name)} AND {STATE} IN ({staging.written})"
        self._pairs = (
            f"({written}) s JOIN ({inner.format(table.rows)}) t ON {meets} AND NOT ({table.same_key('s', 't')})"
        )
        moving = f"EXISTS (SELECT FROM {table.name} m WHERE m.{STATE} = 'differs' AND {table.same_key('m', 't')})"
        self._moves = moving if staging.on_conflict == "overwrite" else "false"

    def take_out(self) -> list[str]:
        """Leave out rows whose values are kept by rows that stay as they are, and name the pairs."""
        table = self._table
        query = (
            f"UPDATE {table.name} o SET {STATE} = 'taken' FROM {self._pairs} WHERE NOT {self._moves} "
            f"AND {table.same_key('o', 's')} RETURNING {texts_of('s', table.key)}, {texts_of('t', table.key)}"
        )
        return [
            f"{self._staging.in_words(table.key, mine)} meets {self._staging.in_words(table.key, its)}"
            for mine, its in self._staging.ask(query)
        ]

    def exchange(self) -> bool:
        """Whether some values are kept by rows that are overwritten too."""
        ((found,),) = self._staging.ask(f"SELECT EXISTS (SELECT FROM {self._pairs} WHERE {self._moves})")
        return bool(found)


def _taken(staging: Staging, table: StagedTable, constraints: list[UniqueConstraint]) -> Iterator[Conflict]:
    taken: defaultdict[str, list[str]] = defaultdict(list)
    found = True
    while found:  # one that is left out keeps its own value, which another may need
        found = False
        for constraint in [*constraints]:
            try:
                with staging.live.transaction():
                    rows = _Meetings(staging, table, constraint).take_out()
            except errors.UndefinedColumn:
                constraints.remove(constraint)  # of a new or generated column: the import itself meets it
                continue
            taken[constraint.name] += rows
            found |= bool(rows)
    for name, rows in taken.items():
        if rows:
            yield Conflict(
                table=table.live.label,
                kind="unique value taken",
                what=f"Another row has now the value of {name} of {counted(len(rows), 'row')}.",
                choices="`skip` leaves these rows out; or change the other row first.",
                solved_by=("skip",),
                rows=tuple(rows[:ROWS_SHOWN]),
            )


def _choose_way(staging: Staging, table: StagedTable, constraints: Sequence[UniqueConstraint]) -> Iterator[Conflict]:
    """Choose how rows are overwritten.

    An UPDATE gives no identity that is always generated, nor another spelling of a key, and exchanges no unique values
    between rows.
    """
    if staging.on_conflict != "overwrite":
        return
    identities = [name for name in table.columns if table.live.columns[name].identity == "a" or name in table.key]
    differ = ", ".join(f"bool_or(s.{quoted(name)}::text <> t.{quoted(name)}::text)" for name in identities)
    (differs,) = staging.ask(
        f"SELECT {differ} FROM {table.name} s JOIN {table.rows} t ON {table.same_key('s', 't')} "
        f"WHERE s.{STATE} = 'differs'"
    )
    renumbered = [name for name, differs_here in zip(identities, differs, strict=True) if differs_here]
    exchanged = [item for item in constraints if item.immediate and _Meetings(staging, table, item).exchange()]
    if not renumbered and not exchanged:
        return
    acting = [*_acting(staging, table)]
    if not acting:
        staging.ways[table.name] = "anew"
    elif not renumbered and _can_park(staging, table, exchanged):
        staging.ways[table.name] = "parked"
        staging.parked[table.name] = exchanged
    else:
        names = ", ".join(renumbered or [item.name for item in exchanged])
        children = ", ".join(
            f"{label(link.child)} (ON DELETE {link.on_delete}, ON UPDATE {link.on_update})" for link in acting
        )
        yield Conflict(
            table=table.live.label,
            kind="identity differs" if renumbered else "unique values exchanged",
            what=f"Rows could get their values of {names} only by being deleted and inserted, which would do to others "
            f"that refer to them what a deletion does: {children}.",
            choices="`skip` leaves them as they are.",
            solved_by=("skip",),
        )


def _can_park(staging: Staging, table: StagedTable, exchanged: Sequence[UniqueConstraint]) -> bool:
    """Try to free the values: only the server knows what checks, lengths and foreign keys say to unused ones."""
    if not all(parking(table, item, table.name) for item in exchanged):
        return False
    differing = f"(SELECT * FROM {table.name} WHERE {STATE} = 'differs')"
    try:
        with staging.live.transaction(force_rollback=True):
            for trigger in read_triggers(staging.live, [table.live.name]):
                staging.do(trigger.switch("DISABLE"))
            staging.do(park(table, exchanged, differing, table.name))
            staging.do("SET CONSTRAINTS ALL IMMEDIATE")
    except (errors.IntegrityError, errors.DataError):
        return False
    except errors.InsufficientPrivilege:
        return True  # the import says what is missing
    return True


def _acting(staging: Staging, table: StagedTable) -> Iterator[ForeignKey]:
    """Foreign keys by which rows that refer to a row change when it is deleted and inserted."""
    for link in staging.links:
        if link.parent == table.live.name:
            follows = link.on_update != "no action" and bool(_changed(staging, table, link.parent_columns))
            if link.on_delete != "no action" or follows:
                yield link


def _changed(staging: Staging, table: StagedTable, columns: Sequence[str], of: str = "true") -> list[str]:
    """Keys of rows that would get other values in these columns. of: a condition on `t`, the row in production."""
    differ = " OR ".join(f"s.{quoted(n)} IS DISTINCT FROM t.{quoted(n)}" for n in columns if n in table.columns)
    rows = staging.ask(
        f"SELECT {texts_of('s', table.key)} FROM {table.name} s JOIN {table.rows} t ON {table.same_key('s', 't')} "
        f"WHERE s.{STATE} = 'differs' AND ({differ or 'false'}) AND ({of}) LIMIT {ROWS_SHOWN}"
    )
    return [staging.in_words(table.key, key) for (key,) in rows]


def _references(staging: Staging, table: StagedTable) -> Iterator[Conflict]:
    """Find rows that nobody looked for, which an UPDATE would take a value from that no undo script knows."""
    for link in staging.links:
        if staging.on_conflict == "overwrite" and link.parent == table.live.name and link.on_update.startswith("set "):
            child = read_shape(staging.live, link.child)
            assert child
            referred = f"EXISTS (SELECT FROM {rows_of(child)} c WHERE {refers(link, 't', 'c')})"
            if rows := _changed(staging, table, link.parent_columns, referred):
                yield Conflict(
                    table=table.live.label,
                    kind="references would go",
                    what=f"Rows of {label(link.child)} refer to a value that would be overwritten, and would lose it: "
                    f"{link.name} is ON UPDATE {link.on_update.upper()}.",
                    choices="`skip` leaves these rows as they are.",
                    solved_by=("skip",),
                    rows=tuple(rows),
                )


def _rules(staging: Staging, table: StagedTable) -> Iterator[Conflict]:
    rules = read_rules(staging.live, table.live.name)
    if rules and staging.ask(f"SELECT FROM {table.name} WHERE {STATE} IN ({staging.written}) LIMIT 1"):
        commands = "; ".join(f"ALTER TABLE {table.target} DISABLE RULE {quoted(name)}" for name in rules)
        yield Conflict(
            table=table.live.label,
            kind="rewrite rule",
            what="By its rewrite rules, Postgres would do something else than write these rows or take them back.",
            choices=f"Switch them off until the rows are back ({commands}), and ENABLE them again.",
        )


def _reused(staging: Staging) -> Iterator[Conflict]:
    for table in staging.tables:
        rows = staging.ask(
            f"SELECT {texts_of('s', table.key)}, count(*) OVER () FROM {table.name} s WHERE {STATE} = 'differs' "
            f"ORDER BY {columns_of('s', table.key)} LIMIT {ROWS_SHOWN}"
        )
        if rows:
            yield Conflict(
                table=table.live.label,
                kind="key reused",
                what=f"{counted(rows[0][1], 'row')} with other values now.",
                choices="`skip` leaves them as they are; `overwrite` puts the rows of the backup in their place.",
                solved_by=("skip", "overwrite"),
                rows=tuple(staging.in_words(table.key, key) for key, _ in rows),
            )


def _orphans(staging: Staging) -> Iterator[Conflict]:
    """Find rows whose parent is neither in production nor among those that will be inserted."""
    staged = {table.live.name: table for table in staging.tables}
    for link in staging.links:
        child, parent = staged.get(link.child), staged.get(link.parent)
        if child is None or link.partial or not set(link.child_columns) <= set(child.columns):
            continue
        shape = read_shape(staging.live, link.parent)
        assert shape
        known = " AND ".join(f"s.{quoted(column)} IS NOT NULL" for column in link.child_columns)
        equal = refers(link, "p", "s")
        among = (
            f"AND NOT EXISTS (SELECT FROM {parent.name} p WHERE p.{STATE} IN ({staging.written}) AND {equal})"
            if parent and set(link.parent_columns) <= set(parent.columns)
            else ""
        )
        rows = staging.ask(
            f"SELECT keys, count(*) OVER () FROM (SELECT DISTINCT {texts_of('s', link.child_columns)} AS keys "
            f"FROM {child.name} s WHERE s.{STATE} IN ({staging.written}) AND {known} "
            f"AND NOT EXISTS (SELECT FROM {rows_of(shape)} p WHERE {equal}) {among}) missing LIMIT {ROWS_SHOWN}"
        )
        if rows:
            whose = label(link.parent)
            yield Conflict(
                table=label(link.child),
                kind="parent gone",
                what=f"By {link.name} it refers to {counted(rows[0][1], 'row')} missing from {whose}.",
                choices=f"Recover these rows of {whose} first; what refers to them comes with them.",
                rows=tuple(staging.in_words(link.child_columns, keys) for keys, _ in rows),
            )
