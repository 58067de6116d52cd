"""Rows of a backup beside the rows of production now: changes that the age of the backup explains, and others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

USUAL_SHARE = 0.1
"""Share of its rows by which a table may always differ ..."""
USUAL_ROWS = 100
"""... or number of rows, whichever is more."""
TIMES_FASTER = 5
"""Factor by which it may change faster than it did between the two newest backups."""


@dataclass(frozen=True)
class TableComparison:
    """Rows of a table `then` and `now`; None where there is no such table.

    remark: a change that the age does not explain, or empty.
    """

    table: str
    then: int | None
    now: int | None
    remark: str = ""


def compare_rows(
    then: Mapping[str, int],
    now: Mapping[str, int],
    age: timedelta,
    before: Mapping[str, int] | None = None,
    span: timedelta = timedelta(),
) -> list[TableComparison]:
    """Compare the tables of both sides, those with a remark first.

    age: age of the backup. before, span: rows of the backup before it, and the time between the two; they tell how fast
    each table usually changes.
    """
    compared = []
    for table in sorted(then.keys() | now.keys()):
        usual = _usual_change(then, table, age, before, span)
        compared.append(TableComparison(table, then.get(table), now.get(table), _remark(then, now, table, usual)))
    return sorted(compared, key=lambda item: not item.remark)


def _remark(then: Mapping[str, int], now: Mapping[str, int], table: str, usual: int) -> str:
    if table not in now:
        return "is in the backup, and not in production any more"
    if table not in then:
        return "is in production, and younger than the backup"
    if then[table] and not now[table]:
        return "is empty in production"
    change = now[table] - then[table]
    if abs(change) <= usual:
        return ""
    return f"has {abs(change):,} rows {'more' if change > 0 else 'fewer'} in production; up to {usual:,} would be usual"


def _usual_change(
    then: Mapping[str, int], table: str, age: timedelta, before: Mapping[str, int] | None, span: timedelta
) -> int:
    rows = then.get(table, 0)
    usual = max(USUAL_ROWS, int(rows * USUAL_SHARE))
    if before and table in before and span > timedelta():
        usual = max(usual, int(TIMES_FASTER * abs(rows - before[table]) * (age / span)))
    return usual
