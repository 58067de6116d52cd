"""What was compared when a restored copy was proven equal to its backup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TableProof:
    """`bytes`: of the rows as COPY text. `how`: the digest of all bytes in order, or of all rows in any order."""

    namespace: str
    name: str
    rows: int
    bytes: int
    how: Literal["bytes", "rows in any order"]


@dataclass(frozen=True)
class Proof:
    """A complete one: what differs raises UnequalError instead.

    schema_objects: definitions that both have. left_out: what a restored copy does not get, so that it does not act.
    recomputed: what was computed anew in the copy and is not compared, in words.
    """

    tables: tuple[TableProof, ...]
    sequences: int
    large_objects: int
    schema_objects: int
    left_out: tuple[str, ...]
    recomputed: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self.tables)
