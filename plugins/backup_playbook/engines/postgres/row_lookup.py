"""Rows of a backup by their key, straight from its objects: no server, no restore."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from backup_playbook.core.model import Manifest, ObjectKind, TablePart, TableRecord
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.core.row_tables import parse_key
from backup_playbook.engines.postgres.copy_commands import copy_from_line
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.packs import PackReader
from backup_playbook.engines.postgres.row_catalog import require_characters
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

Row = dict[str, str | None]

# what COPY writes for characters that would end a value or a line; all others stand for themselves
_ESCAPED = {b"\b": b"\\b", b"\f": b"\\f", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b"\v": b"\\v", b"\\": b"\\\\"}
_PLAIN = {escaped: plain for plain, escaped in _ESCAPED.items()}
_NULL = b"\\N"


def find_record(manifest: Manifest, table: str) -> TableRecord:
    """Find `schema.table`, or `table` of the schema public. Raises RowRecoveryError."""
    for record in manifest.tables:
        if table in (f"{record.namespace}.{record.name}", record.name if record.namespace == "public" else ""):
            return record
    raise RowRecoveryError(
        f"The backup {manifest.backup_id} has no table {table!r} that holds rows.",
        "Start this without a table to see all of them; of a partitioned table, name the partition.",
    )


def lookup_rows(
    reader: BackupReader, record: TableRecord, keys: Sequence[str], cancellation: Cancellation
) -> list[Row]:
    """Find rows by their key, exactly as the backup has it (`17`, `2026-01-31`); every byte read is verified.

    Raises RowRecoveryError for keys that cannot be any; VerificationError, EncryptionError, RepositoryError.
    """
    label = f"{record.namespace}.{record.name}"
    if not record.key:
        raise RowRecoveryError(f"{label} has no primary key.", "Restore the backup to look into this table.")
    codec = PostgresDetails.of(reader.manifest).python_codec
    require_characters(codec, keys)
    wanted = {
        tuple(escape(value.encode(codec)).rstrip(b" ") for value in parse_key(key, label, record.key)) for key in keys
    }
    firsts = [parse_key(key, label, record.key)[0] for key in keys]
    objects = {item.name: item for item in reader.manifest.objects}
    found: list[Row] = []
    for part in record.parts:
        if part.rows and _can_hold(part, firsts, codec):
            item = objects[part.object]
            rows = (_PackedLines if item.kind is ObjectKind.PACK else _Lines)(record, wanted, codec)
            for block in reader.content(item):
                cancellation.check()
                rows.update(block)
            found += rows.found
    return found


class _Lines:
    """Picks lines out of COPY text as it passes."""

    def __init__(self, record: TableRecord, wanted: Collection[tuple[bytes, ...]], codec: str) -> None:
        self._record, self._wanted, self._codec = record, wanted, codec
        self._places = [record.columns.index(name) for name in record.key]
        self._rest = b""
        self.found: list[Row] = []

    def update(self, block: bytes | memoryview) -> None:
        *lines, self._rest = (self._rest + block).split(b"\n")
        last = max(self._places) + 1
        for line in lines:
            cells = line.split(b"\t", last)
            # `character` is padded with blanks, which are not part of its value
            if tuple(cells[place].rstrip(b" ") for place in self._places) in self._wanted:
                self.found.append(self._row(line))

    def _row(self, line: bytes) -> Row:
        values = (None if cell == _NULL else _unescape(cell).decode(self._codec) for cell in line.split(b"\t"))
        return dict(zip(self._record.columns, values, strict=True))


class _PackedLines(PackReader):
    """Picks lines out of one table of a pack."""

    def __init__(self, record: TableRecord, wanted: Collection[tuple[bytes, ...]], codec: str) -> None:
        super().__init__()
        self._header_wanted = copy_from_line(record.target, record.columns).encode(codec)
        self._lines = _Lines(record, wanted, codec)
        self._reading = False

    @property
    def found(self) -> list[Row]:
        return self._lines.found

    def begin_table(self, header: bytes) -> None:
        self._reading = header == self._header_wanted

    def take_rows(self, rows: memoryview) -> None:
        if self._reading:
            self._lines.update(rows)


def _can_hold(part: TablePart, values: Sequence[str], codec: str) -> bool:
    """Compare with the smallest and largest key: as whole numbers or as texts, for nobody knows the type."""
    if part.key_min is None or part.key_max is None:
        return True
    low, high = part.key_min, part.key_max
    if any(low.encode(codec) <= value.encode(codec) <= high.encode(codec) for value in values):
        return True
    try:
        return any(int(low) <= int(value) <= int(high) for value in values)
    except ValueError:
        return True


def escape(value: bytes) -> bytes:
    """Write a value as COPY does."""
    return re.sub(rb"[\x08\f\n\r\t\v\\]", lambda match: _ESCAPED[match[0]], value)


def _unescape(cell: bytes) -> bytes:
    return re.sub(rb"\\(.)", lambda match: _PLAIN.get(match[0], match[1]), cell)
