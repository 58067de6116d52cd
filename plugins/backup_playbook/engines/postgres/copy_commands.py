"""COPY commands of dump and restore, and scripts of psql that run them. Names are data: every one is quoted."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from backup_playbook.core.model import TableRecord
from backup_playbook.engines.postgres.inventory import Table, quoted
from backup_playbook.engines.postgres.session import SETTINGS, set_statements

Pages = tuple[int, int | None]
"""First page, and the one after the last; None: to the end."""
END_OF_ROWS = b"\\.\n"


def psql(program: Path) -> list[str]:
    """Command of a psql that has no startup file, prints rows alone, and stops at the first error."""
    # into a pipe, psql would write 4 kB at a time: a sixth of its CPU time, and of the backup's
    buffered = ["stdbuf", "-o1M"] if shutil.which("stdbuf") else []
    return [*buffered, str(program), "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"]


def in_snapshot(snapshot_id: str, settings: Mapping[str, str] = SETTINGS) -> str:
    """SQL that begins a transaction which sees the snapshot."""
    begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot_id}';"
    return f"{begin}\n{set_statements(settings, local=True)}\n"


def copy_from_line(target: tuple[str, str], columns: Iterable[str]) -> str:
    """COPY line that stands before a table's rows in a pack, and loads them."""
    return f"COPY {_target(*target, columns)} FROM stdin;"


def copy_in(table: TableRecord, encoding: str, *, frozen: bool = False) -> str:
    """COPY that loads a table's rows, in the `encoding` that they were copied out in.

    frozen: visible to all from the start; needs a TRUNCATE in the same transaction.
    """
    options = f"{'FREEZE, ' if frozen else ''}ENCODING '{encoding}'"
    return f"COPY {_target(*table.target, table.columns)} FROM STDIN WITH ({options})"


def copy_out(table: Table, pages: Pages | None = None) -> str:
    """COPY of a table, of a range of its pages, or of an extension's own rows, in the table's physical order."""
    name = quoted(table.namespace, table.name)
    # generated columns cannot be named in the list
    if pages is None and not table.condition and set(table.columns).isdisjoint(table.generated):
        return f"COPY {_target(table.namespace, table.name, table.columns)} TO STDOUT"
    columns = ", ".join(quoted(column) for column in table.columns)
    where = f" {table.condition}" if pages is None else f" WHERE {page_range(pages)}"
    return f"COPY (SELECT {columns} FROM ONLY {name}{where}) TO STDOUT"


def page_range(pages: Pages) -> str:
    """SQL condition for rows of these pages."""
    first, end = pages
    upper = "" if end is None else f" AND ctid < '({end},0)'"
    return f"ctid >= '({first},0)'{upper}"


def pack_script(snapshot_id: str, tables: Iterable[Table], settings: Mapping[str, str] = SETTINGS) -> str:
    """Script of psql that prints, for each table, the COPY ... FROM line, the rows, and the end mark."""
    lines = [in_snapshot(snapshot_id, settings)]
    for table in tables:
        header = _echo_word(copy_from_line(table.target, table.columns))
        lines += [rf"\echo {header}", f"{copy_out(table)};", r"\echo '\\.'"]
    return "\n".join([*lines, "COMMIT;", ""])


def _target(namespace: str, name: str, columns: Iterable[str]) -> str:
    listed = ", ".join(quoted(column) for column in columns)
    # no list when there is nothing to list: COPY then takes the columns that are not generated, which are none
    return f"{quoted(namespace, name)} ({listed})" if listed else quoted(namespace, name)


def _echo_word(text: str) -> str:
    r"""An argument of \echo: bare words would expand :variables and run `commands`."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
