"""Markdown of plans and reports. Names, messages and values are data: they make no columns, lines or links."""

from __future__ import annotations

import re
from collections.abc import Sequence

ROWS_SHOWN = 200
# Only what would be markup, so that a report is also read as it lies there: underscores within words are none.
_MARKUP = re.compile(r"[\\`*|~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|&(?=#?\w+;)")


def markdown_table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], shown: int = ROWS_SHOWN
) -> list[str]:
    """A heading and a table; nothing when there are no rows."""
    if not rows:
        return []
    lines = ["", f"## {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows[:shown]]
    return [*lines, f"\n... and {len(rows) - shown} more; all are in the JSON."] if rows[shown:] else lines


def cell(text: str) -> str:
    """Text in one line, shown as it is."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split())).replace("<", "&lt;")


def code(text: str) -> str:
    """Text in one line as a code span, which is not for tables: nothing but backticks is markup there."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if len(fence) == 1 else f"{fence} {line} {fence}"
