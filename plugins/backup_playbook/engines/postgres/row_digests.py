"""Digests of rows as they pass: of consecutive pieces, or of all rows whatever their order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from backup_playbook.core.model import TableRecord
from backup_playbook.engines.postgres.inventory import Table
from backup_playbook.streams.blocks import Digest

_MODULUS = 1 << 256


def keeps_order(table: TableRecord | Table) -> bool:
    """Whether a restored copy has the rows in the order of the backup.

    Not if the server distributes or keeps them as it likes, nor if an extension fills the table from the start.
    """
    return table.access_method == "heap" and table.root is None and table.kind != "extension"


class PartDigests:
    """Cuts a stream at the lengths of its parts; what is left over counts to the last one."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._digests = [Digest()]

    def update(self, block: bytes) -> None:
        """Add the next bytes."""
        rest = memoryview(block)
        while rest:
            number = len(self._digests) - 1
            room = self._lengths[number] - self._digests[-1].bytes
            if number == len(self._lengths) - 1:
                room = len(rest)
            elif room == 0:
                self._digests.append(Digest())
                continue
            self._digests[-1].update(rest[:room])
            rest = rest[room:]

    def finish(self) -> list[tuple[int, str]]:
        """Return length and SHA-256 of each part; one that never came has those of nothing."""
        missing = [Digest() for _ in self._lengths[len(self._digests) :]]
        return [(digest.bytes, digest.sha256) for digest in (*self._digests, *missing)]


class RowMultiset:
    """Digest of rows in any order: the sum of the SHA-256 of every line, and their number.

    order: of the values in a row, by their numbers; None: as they come.
    """

    def __init__(self, order: Sequence[int] | None = None) -> None:
        self._order = order
        self._sum = self.rows = 0
        self._rest = b""

    def update(self, block: bytes | memoryview) -> None:
        """Add the next bytes of COPY text."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        if self._order is not None:  # COPY escapes the tabs of values
            lines = [b"\t".join(map(line.split(b"\t").__getitem__, self._order)) for line in lines]
        self._sum += sum(int.from_bytes(hashlib.sha256(line).digest()) for line in lines)
        self._sum %= _MODULUS
        self.rows += len(lines)

    def add(self, other: RowMultiset) -> None:
        """Add all rows of another one."""
        self._sum = (self._sum + other._sum) % _MODULUS
        self.rows += other.rows
        self._rest += other._rest

    @property
    def digest(self) -> tuple[int, int, bytes]:
        """Sum, number of rows, and an incomplete last row."""
        return self._sum, self.rows, self._rest
