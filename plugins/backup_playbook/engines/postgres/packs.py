"""Packs, read while they pass: each COPY line, with the number and the digest of its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import ObjectKind, TableRecord
from backup_playbook.engines.postgres.copy_commands import END_OF_ROWS
from backup_playbook.engines.postgres.row_digests import RowMultiset
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.blocks import Digest, drain, tap

_END = b"\n" + END_OF_ROWS


@dataclass(frozen=True)
class PackedTable:
    """Digest of a table's rows. header: the COPY ... FROM stdin line, in the database's encoding."""

    header: bytes
    rows: int
    bytes: int
    sha256: str


class PackReader:
    r"""Splits a pack into tables. No row looks like the end mark: COPY doubles backslashes, `\.` becomes `\\.`.

    Whoever wants the rows themselves overrides `begin_table`, `take_rows` and `end_table`.
    """

    def __init__(self) -> None:
        self.tables: list[PackedTable] = []
        self._buffer = b""
        self._at = 0
        self._header: bytes | None = None
        self._digest = Digest()
        self._rows = 0

    def begin_table(self, header: bytes) -> None:
        """Expect the rows of `header` next."""

    def take_rows(self, rows: memoryview) -> None:
        """Take some of them, not cut at the ends of lines; valid during the call only."""

    def end_table(self) -> None:
        """Note that there are no more; `tables[-1]` describes them."""

    def update(self, block: bytes) -> None:
        """Read the next bytes of the pack."""
        self._buffer = self._buffer[self._at :] + block
        self._at = 0
        while self._read_header() if self._header is None else self._read_rows():
            pass

    def finish(self) -> list[PackedTable]:
        """Return all tables. Raises VerificationError when the pack ends in the middle of one."""
        if self._at < len(self._buffer) or self._header is not None:
            raise VerificationError(
                "A pack of tables is cut off in the middle of a table.", "Use another backup, or the off-site copy."
            )
        return self.tables

    def _read_header(self) -> bool:
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            return False
        self._header, self._at = self._buffer[self._at : end], end + 1
        self.begin_table(self._header)
        return True

    def _read_rows(self) -> bool:
        if self._digest.bytes == 0 and self._buffer.startswith(END_OF_ROWS, self._at):
            self._end_table()
            return True
        end = self._buffer.find(_END, self._at)
        if end >= 0:
            self._take(end + 1)
            self._end_table()
            return True
        # what could be the beginning of an end mark waits for the next block; what is before it are rows
        self._take(len(self._buffer) - len(_END))
        return False

    def _take(self, end: int) -> None:
        if end > self._at:
            rows = memoryview(self._buffer)[self._at : end]
            self._digest.update(rows)
            self._rows += self._buffer.count(b"\n", self._at, end)
            self._at = end
            self.take_rows(rows)

    def _end_table(self) -> None:
        assert self._header is not None
        self._at += len(END_OF_ROWS)
        self.tables.append(PackedTable(self._header, self._rows, self._digest.bytes, self._digest.sha256))
        self._header, self._rows, self._digest = None, 0, Digest()
        self.end_table()


class _PackedRows(PackReader):
    """Adds the rows of the tables of a pack, in their order, to `sums`; None: not of interest."""

    def __init__(self, sums: Iterable[RowMultiset | None]) -> None:
        super().__init__()
        self._sums = iter(sums)
        self._sum: RowMultiset | None = None

    def begin_table(self, header: bytes) -> None:  # noqa: ARG002 - restore has compared it
        self._sum = next(self._sums, None)

    def take_rows(self, rows: memoryview) -> None:
        if self._sum:
            self._sum.update(rows)


def archived_rows(reader: BackupReader, records: Sequence[TableRecord]) -> dict[tuple[str, str], RowMultiset]:
    """Add up the rows of these tables of a backup by target, with the columns in the order of its first table."""
    columns: dict[tuple[str, str], Sequence[str]] = {}
    found: dict[tuple[str, str], RowMultiset] = {}
    for record in records:
        first = columns.setdefault(record.target, record.columns)
        order = None if first == record.columns else [record.columns.index(name) for name in first]
        found[record.namespace, record.name] = RowMultiset(order)
    names = {part.object for record in records for part in record.parts}
    for item in (item for item in reader.manifest.objects if item.name in names):
        held = [record for record, _ in reader.manifest.parts_by_object[item.name]]
        sums = [found.get((record.namespace, record.name)) for record in held]
        if item.kind is ObjectKind.PACK:
            drain(tap(reader.content(item), _PackedRows(sums).update))
        elif (rows := sums[0]) is not None:
            drain(tap(reader.content(item), rows.update))
    whole: dict[tuple[str, str], RowMultiset] = defaultdict(RowMultiset)
    for record in records:
        whole[record.target].add(found[record.namespace, record.name])
    return whole
