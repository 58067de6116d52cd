"""Plan of the streams that a database is copied in; pure, so that it can be tested without one.

Large tables get a stream of their own, very large ones several (ranges of pages), all others travel together in packs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backup_playbook.core.naming import slug
from backup_playbook.engines.postgres.copy_commands import Pages
from backup_playbook.engines.postgres.inventory import Table

MIB = 1 << 20
CHUNK_BYTES = 128 * MIB
"""Size of a chunk of a table, with TOAST: one object, one COPY, and the unit of parallelism."""
OWN_STREAM_BYTES = 8 * MIB
SMALLEST_PACK_BYTES = 2 * MIB
WHOLE_TABLES = 1 << 60
"""Chunk size that leaves every table in one piece."""
TABLE_OVERHEAD_BYTES = 16 << 10
"""Cost of an empty table, in bytes of a large one; balances packs of thousands of them."""

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class TableStream:
    """A table, or a range of its pages."""

    name: str
    table: Table
    pages: Pages | None
    estimate: int


@dataclass(frozen=True)
class PackStream:
    """Small tables that travel together."""

    name: str
    tables: tuple[Table, ...]
    estimate: int


Stream = TableStream | PackStream


def plan_streams(tables: Sequence[Table], streams: int, chunk_bytes: int = CHUNK_BYTES) -> list[Stream]:
    """Plan streams that hold every row exactly once; chunks of a table are in the order of its pages."""
    planned: list[Stream] = []
    small: list[Table] = []
    for number, table in enumerate(tables, 1):
        # packs are loaded in their order, which the foreign keys of an extension's tables need
        packed = table.kind == "extension" or table.bytes < min(OWN_STREAM_BYTES, chunk_bytes)
        if packed and not _unscriptable(table):
            small.append(table)
        else:
            planned += _table_streams(f"{number:05d}-{slug(table.label)}", table, chunk_bytes)
    return planned + _packs(small, streams, chunk_bytes)


def _table_streams(name: str, table: Table, chunk_bytes: int) -> list[Stream]:
    chunks = min(table.bytes // chunk_bytes, table.pages)
    # TID range scans know heap tables only; a condition (of an extension's table) never meets a large one
    if chunks < 2 or table.access_method != "heap" or table.condition:
        return [TableStream(f"{name}.copy", table, None, table.bytes)]
    starts = [table.pages * chunk // chunks for chunk in range(chunks)]
    ends: list[int | None] = [*starts[1:], None]
    return [
        TableStream(f"{name}-{number:04d}.copy", table, (start, end), table.bytes // chunks)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
    ]


def _packs(tables: list[Table], streams: int, chunk_bytes: int) -> list[Stream]:
    """Fill as many packs, in the given order, as keep all streams busy; none larger than a chunk."""
    total = sum(_cost(table) for table in tables)
    target = max(SMALLEST_PACK_BYTES, min(chunk_bytes, total // (2 * streams)))
    packs: list[list[Table]] = []
    filled = target
    for table in tables:
        if filled + _cost(table) > target:
            packs.append([])
            filled = 0
        packs[-1].append(table)
        filled += _cost(table)
    return [
        PackStream(f"pack-{number:04d}.sql", tuple(pack), sum(_cost(table) for table in pack))
        for number, pack in enumerate(packs, 1)
    ]


def _cost(table: Table) -> int:
    return table.bytes + TABLE_OVERHEAD_BYTES


def _unscriptable(table: Table) -> bool:
    """Whether a name has a control character, which cannot stand on a line of a psql script."""
    return any(_CONTROL_CHARACTER.search(name) for name in (table.label, *table.target, *table.columns))
