"""Search for a row that COPY cannot print: the server says nothing but that it would need too much memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.errors import ProcessFailedError
from backup_playbook.core.masking import masked
from backup_playbook.engines.postgres.copy_commands import Pages, copy_out, page_range
from backup_playbook.engines.postgres.inventory import Table, quoted

LIMIT = "1 GB"
"""Limit of a row as text, with what COPY escapes; each byte of a `bytea` is two."""

_TOO_LARGE = re.compile(r"invalid memory alloc request size|Cannot enlarge string buffer")

Copy = Callable[[str], object]
"""Runs a COPY ... TO STDOUT and throws away what it prints."""


def is_too_large(error: ProcessFailedError) -> bool:
    """Whether a row was too large for COPY."""
    return bool(_TOO_LARGE.search(error.stderr))


def find_row(tables: Sequence[Table], pages: Pages | None, copy: Copy, connection: Connection[TupleRow]) -> str | None:
    """Name the first such row, `public.t (id 7)`, of these tables, or of pages of the one; None: there is none."""
    for table in tables:
        if not _prints(copy, copy_out(table, pages)):
            return _in_pages(table, pages or (0, None), copy, connection)
    return None


def _in_pages(table: Table, pages: Pages, copy: Copy, connection: Connection[TupleRow]) -> str:
    first, end = pages[0], pages[1] or table.pages
    while end - first > 1:
        middle = (first + end) // 2
        if _prints(copy, copy_out(table, (first, middle))):
            first = middle
        else:
            end = middle
    name = quoted(table.namespace, table.name)
    columns = ", ".join(map(quoted, table.columns))
    key = ", ".join(f"{quoted(column)}::text" for column in table.key) or "ctid::text"
    query = f"SELECT ctid::text, {key} FROM ONLY {name} WHERE {page_range((first, None))}"
    for place, *values in connection.execute(query.encode(connection.info.encoding)):
        if not _prints(copy, f"COPY (SELECT {columns} FROM ONLY {name} WHERE ctid = '{place}') TO STDOUT"):
            named = zip(table.key or ["ctid"], values, strict=True)
            return f"{table.label} ({' '.join(f'{column} {masked(value, column)}' for column, value in named)})"
    return table.label


def _prints(copy: Copy, command: str) -> bool:
    try:
        copy(command)
    except ProcessFailedError as error:
        if is_too_large(error):
            return False
        raise
    return True
