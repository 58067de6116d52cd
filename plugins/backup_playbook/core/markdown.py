"""Tables of reports and plans. Names and messages are data: in a cell they make no columns, lines or markup."""

from __future__ import annotations

from collections.abc import Sequence

ROWS_SHOWN = 200


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
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
