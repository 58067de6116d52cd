"""Filters for the rows of a table of the backup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backup_playbook.core.row_tables import Column
from backup_playbook.engines.postgres.inventory import literal, quoted

# types whose values have one spelling each, so that equal ones are equal as text
_FAMILIES: Mapping[str, str] = {
    "smallint": "number", "integer": "number", "bigint": "number", "uuid": "uuid", "text": "text",
    "character varying": "text",
}  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """Rows whose `columns`, by `operators`, have one of `values`; or those that meet `where`.

    spelled: a column whose values stand in the backup exactly so; None when that is not known.
    """

    columns: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    values: Sequence[tuple[str, ...]] = ()
    where: str = ""
    spelled: str | None = None

    def condition(self) -> str:
        """Write the condition in SQL."""
        rows = (
            " AND ".join(
                f"{literal(value)} {equals} {quoted(column)}"
                for value, equals, column in zip(row, self.operators, self.columns, strict=True)
            )
            for row in self.values
        )
        return self.where or " OR ".join(f"({row})" for row in rows) or "false"


def family(column: Column) -> str | None:
    """Name the family: columns of one have equal values when their texts are equal. None: not known."""
    return _FAMILIES.get(column.cast)
