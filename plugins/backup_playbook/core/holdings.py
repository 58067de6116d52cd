"""Amount of data in a backup, in the words of its engine."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from backup_playbook.core.model import Manifest


class Nouns(NamedTuple):
    """Words of an engine for a table and a row."""

    table: str
    row: str


_NOUNS = {"mongodb": Nouns("collection", "document")}


def nouns(engine: str) -> Nouns:
    """Words of an engine."""
    return _NOUNS.get(engine, Nouns("table", "row"))


def counted(number: int, noun: str) -> str:
    """Number and noun: `1 row`, `3,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def tables_and_rows(engine: str, tables: int, rows: int) -> str:
    """Amounts, such as `12 tables, 3,000 rows` or `1 collection, 1 document`."""
    words = nouns(engine)
    return f"{counted(tables, words.table)}, {counted(rows, words.row)}"


def holding(manifest: Manifest) -> str:
    """Amount of data in a backup: `12 tables, 3,000 rows`, or `12,000 files`."""
    if shares_contents(manifest):
        return counted(manifest.details["files"], "file")
    return tables_and_rows(manifest.engine, len(manifest.tables), manifest.rows)


def shares_contents(manifest: Manifest) -> bool:
    """Whether backups share contents, as those of files do: their objects only name the contents."""
    return manifest.engine == "files"


def shows_until(manifest: Manifest) -> datetime:
    """Moment after which nothing is in the backup.

    That is the time of its snapshot. Where each file or collection was read at a time of its own, it is the end.
    """
    details = manifest.details
    snapshot = details.get("consistency") == "snapshot" and not details.get("unsnapshotted")
    return manifest.snapshot_at if manifest.engine == "postgres" or snapshot else manifest.finished_at


def data_bytes(manifest: Manifest) -> int:
    """Size of the source's data, as it is at the source."""
    return int(manifest.details["bytes"]) if shares_contents(manifest) else manifest.content_bytes
