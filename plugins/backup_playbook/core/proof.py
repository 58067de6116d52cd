"""Proof that a restored copy is equal to its backup: what was compared, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TableProof:
    """Comparison of one table.

    bytes: of the rows as text. how: the digest of all bytes in order, or of all rows in any order.
    """

    namespace: str
    name: str
    rows: int
    bytes: int
    how: Literal["bytes", "rows in any order"]


@dataclass(frozen=True)
class Proof:
    """A complete proof. A difference raises UnequalError instead.

    schema_objects: definitions that both have. left_out: parts that a restored copy does not get, so that it does not
    act.
    recomputed: parts that were computed anew in the copy and are not compared, in words.
    """

    tables: tuple[TableProof, ...]
    sequences: int
    large_objects: int
    schema_objects: int
    left_out: tuple[str, ...]
    recomputed: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """Size of all tables."""
        return sum(table.bytes for table in self.tables)
