"""Losses of a source since the backup before: each table, collection or folder against its own history."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from backup_playbook.core.details import TreeDetails, shares_contents
from backup_playbook.core.model import Manifest

LOST_SHARE = 0.1
"""Share of its rows that a table may always lose, and ..."""
LOST_ROWS = 10
"""... number of rows, but no more than half of them: those of a small table are all important."""
HISTORY = 15
"""Backups that tell what is usual for a table that shrinks at times: a queue, sessions, what is purged each week."""
SHOWN = 5

Counts = Mapping[str, int]
"""Rows by table, documents by collection, files by folder."""


@dataclass(frozen=True)
class Loss:
    """A table with fewer rows than before. after: None when the table is gone."""

    name: str
    before: int
    after: int | None

    def __str__(self) -> str:
        return f"{self.name} {self.before:,} -> {'gone' if self.after is None else format(self.after, ',')}"


def counts_of(manifest: Manifest) -> Counts:
    """Rows by table, or files by folder at the top of a tree where the manifest has them."""
    if shares_contents(manifest):
        return TreeDetails.of(manifest).folders
    return {f"{table.namespace}.{table.name}": table.rows for table in manifest.tables}


def losses(newest: Counts, older: Iterable[Counts]) -> list[Loss]:
    """Losses since the first of the older counts, the largest first.

    older: newest first; more than the first one is only taken when there is something to judge.
    """
    backups = iter(older)
    before = next(backups, {})
    lost = [
        Loss(name, rows, newest.get(name))
        for name, rows in before.items()
        if name not in newest or _fell(rows, newest[name])
    ]
    if not lost:
        return []
    history = [before, *(counts for counts, _ in zip(backups, range(HISTORY - 1), strict=False))]
    rotated = _rotated(newest, before)
    found = [one for one in lost if (one.name not in rotated if one.after is None else not _usual(one, history))]
    return sorted(found, key=lambda one: (one.after is not None, (one.after or 0) - one.before, one.name))


def losses_in_words(found: Sequence[Loss]) -> str:
    """List of losses: `public.payments 30,058 -> 20,060, public.notes 12 -> 0 and 3 more`; empty for none."""
    more = len(found) - SHOWN
    return ", ".join(map(str, found[:SHOWN])) + (f" and {more} more" if more > 0 else "")


def _fell(before: int, after: int) -> bool:
    return before - after > max(LOST_SHARE * before, min(LOST_ROWS, before / 2)) or (before > 0 and after == 0)


def _usual(loss: Loss, history: Sequence[Counts]) -> bool:
    """Whether a table that fell before, too, has no fewer rows than it had at its lowest."""
    rows = [counts[loss.name] for counts in history if loss.name in counts]
    fell_before = any(_fell(older, newer) for newer, older in pairwise(rows))
    return fell_before and not _fell(min(rows), loss.after or 0)


def _rotated(newest: Counts, before: Counts) -> set[str]:
    """Tables that similar ones replace, such as the partitions of the days: names that differ in their digits."""
    gone, came = before.keys() - newest.keys(), newest.keys() - before.keys()
    arrived = Counter(map(_pattern, came))
    left = Counter(map(_pattern, gone))
    return {name for name in gone if arrived[_pattern(name)] >= left[_pattern(name)]}


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "0", name)
