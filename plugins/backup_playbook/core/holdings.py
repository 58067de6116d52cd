"""How much a backup holds, said in the words of its engine."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from backup_playbook.core.model import Manifest


class Nouns(NamedTuple):
    table: str
    row: str


_NOUNS = {"mongodb": Nouns("collection", "document")}


def nouns(engine: str) -> Nouns:
    return _NOUNS.get(engine, Nouns("table", "row"))


def counted(number: int, noun: str) -> str:
    """`1 row`, `3,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def tables_and_rows(engine: str, tables: int, rows: int) -> str:
    """`12 tables, 3,000 rows`; `1 collection, 1 document`."""
    words = nouns(engine)
    return f"{counted(tables, words.table)}, {counted(rows, words.row)}"


def holding(manifest: Manifest) -> str:
    """`12 tables, 3,000 rows`, `12,000 files`."""
    if shares_contents(manifest):
        return counted(manifest.details["files"], "file")
    return tables_and_rows(manifest.engine, len(manifest.tables), manifest.rows)


def shares_contents(manifest: Manifest) -> bool:
    """Backups of files do: the objects of one only name the contents."""
    return manifest.engine == "files"


def shows_until(manifest: Manifest) -> datetime:
    """Nothing that happened after this moment is in the backup: that of its snapshot, or of its end where each file or
    collection was read at a moment of its own."""
    details = manifest.details
    snapshot = details.get("consistency") == "snapshot" and not details.get("unsnapshotted")
    return manifest.snapshot_at if manifest.engine == "postgres" or snapshot else manifest.finished_at


def data_bytes(manifest: Manifest) -> int:
    """Of the source's data, as it is there."""
    return int(manifest.details["bytes"]) if shares_contents(manifest) else manifest.content_bytes
