"""Deleted rows in a backup: the steps that find them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backup_playbook.core.row_tables import ForeignKey, Selection, TableShape, cascades
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.row_catalog import choose_rows, find_table, read_foreign_keys
from backup_playbook.engines.postgres.row_condition import understand
from backup_playbook.engines.postgres.row_judgement import require_same_judgement
from backup_playbook.engines.postgres.row_search import RowSearch
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.postgres.session import SETTINGS, set_statements
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation


@dataclass(frozen=True)
class WantedRows:
    """Rows that are looked for. links: foreign keys by which dependent rows are found."""

    table: TableShape
    selection: Selection
    links: tuple[ForeignKey, ...]


def wanted_rows(
    live: PostgresServer, table: str, keys: Sequence[str] = (), where: str = "", *, children: bool = True
) -> WantedRows:
    """Let production understand a form. Raises RowRecoveryError, SourceError."""
    with live.connect() as connection:
        connection.execute(b"SET TRANSACTION READ ONLY")
        connection.execute(set_statements(SETTINGS, local=True).encode())
        shape = find_table(connection, table)
        links = tuple(cascades(read_foreign_keys(connection))) if children else ()
        selection = choose_rows(connection, shape, keys, where)
    if selection.where:
        # as whoever wrote it would have it run: with the search_path and the settings of the database and the role
        with live.connect() as connection:
            selection = replace(selection, condition=understand(connection, shape, selection.where))
            connection.rollback()
    return WantedRows(shape, selection, links)


def load_rows(
    live: PostgresServer, scratch: ScratchDatabase, reader: BackupReader, wanted: WantedRows, cancellation: Cancellation
) -> dict[str, float]:
    """Load rows that can be meant into the empty scratch, and mark those that are.

    Returns seconds by phase. Raises as `Target.restore`, and RowRecoveryError.
    """
    phases = RowSearch(
        scratch.server, scratch.host.production(), reader, scratch.options, cancellation,
        root=wanted.table, selection=wanted.selection, links=wanted.links,
    ).run()  # fmt: skip
    if condition := wanted.selection.condition:
        require_same_judgement(live, scratch.server, wanted.table, condition)
    return phases
