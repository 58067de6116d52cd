"""The row that COPY cannot print is found by halves, not by reading row by row."""

import re
from dataclasses import replace
from typing import Any, cast

from psycopg import Connection

from backup_playbook.core.errors import ProcessFailedError
from backup_playbook.engines.postgres.unprintable import find_row
from tests.unit.postgres.test_plan import table

PAGES, BAD = 1000, (617, 3)


class Rows:
    """Stands for the connection: five rows on each page."""

    class info:  # noqa: N801
        encoding = "utf-8"

    def execute(self, query: bytes) -> list[tuple[str, str]]:
        first = int(re.findall(rb"ctid >= '\((\d+),0", query)[0])
        return [(f"({page},{row})", str(page * 5 + row)) for page in range(first, PAGES) for row in range(5)]


def test_by_halves() -> None:
    commands = []

    def copy(command: str) -> None:
        commands.append(command)
        if place := re.search(r"ctid = '\((\d+),(\d+)\)'", command):
            bad = (int(place[1]), int(place[2])) == BAD
        else:
            ends = [int(number) for number in re.findall(r"ctid >?<?=? ?'\((\d+),0\)'", command)]
            first, end = (*ends, PAGES)[:2] if ends else (0, PAGES)
            bad = first <= BAD[0] < end
        if bad:
            raise ProcessFailedError("psql", 3, "ERROR:  invalid memory alloc request size 1258291203")

    rows = cast("Connection[Any]", Rows())
    assert find_row([table(1, pages=PAGES)], None, copy, rows) == "public.t1 (id 3088)"
    assert len(commands) < 20
    secret = replace(table(1, pages=PAGES), key=["token"])
    assert find_row([secret], None, copy, rows) == "public.t1 (token ***)"
    assert find_row([table(1, pages=PAGES)], (0, 500), copy, rows) is None
    assert find_row([table(1, pages=PAGES)], (500, None), copy, rows) == "public.t1 (id 3088)"
