"""The words in which people speak of an engine's content; each engine brings its own."""

from __future__ import annotations

from dataclasses import dataclass


def counted(number: int, noun: str) -> str:
    """Return `1 row`, `3,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@dataclass(frozen=True)
class EngineWords:
    """Nouns and sentences of an engine, for plans, reports and messages.

    table, row: what holds records, and a record. not_copied: what a copy elsewhere goes without, such as `owners and
    grants`. undo_records: how the stored undo of a recovery of records is run; empty where there is none.
    """

    table: str = "table"
    row: str = "row"
    not_copied: str = ""
    undo_records: str = ""

    def amount(self, tables: int, rows: int) -> str:
        """Return `12 tables, 3,000 rows`."""
        return f"{counted(tables, self.table)}, {counted(rows, self.row)}"


@dataclass(frozen=True)
class ExchangeWords:
    """Sentences on what an exchange of production does; `{live}` and `{quarantine}` stand for the two names.

    touched: where the copy is made, and what replaces what. pause: how users notice it. exchanged: how it went, with
    `{seconds}` (a float) and `{sessions}`. effect: of bringing a quarantine back.
    """

    touched: str
    pause: str
    exchanged: str
    effect: str
