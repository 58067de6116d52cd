"""Numbers of rows of the tables of a live database, counted gently."""

from __future__ import annotations

from psycopg import Connection, errors
from psycopg.rows import TupleRow

from backup_playbook.core.errors import SourceError
from backup_playbook.engines.postgres import inventory
from backup_playbook.engines.postgres.connection import PostgresServer

COUNTED_UP_TO_BYTES = 1 << 30
"""Size up to which a table is read; a larger one has the number of the statistics collector."""
SECONDS_PER_TABLE = 60

_IS_THERE = "SELECT 1 FROM pg_catalog.pg_class WHERE oid = %s"
_STATISTICS = "SELECT n_live_tup FROM pg_catalog.pg_stat_all_tables WHERE relid = %s"


def count_rows(server: PostgresServer) -> dict[str, int]:
    """Count rows by `schema.table`, of all tables but those of extensions; an estimate where that takes long.

    Raises SourceError when there is no connection.
    """
    with server.connect(autocommit=True) as connection:
        connection.execute(f"SET default_transaction_read_only = on; SET statement_timeout = '{SECONDS_PER_TABLE}s'")
        tables = [table for table in inventory.read_live_tables(connection, server.label) if table.kind != "extension"]
        inventory.require_readable(connection, tables)
        counts = {table.label: _count(connection, table, server.label) for table in tables}
    return {name: rows for name, rows in counts.items() if rows is not None}


def _count(connection: Connection[TupleRow], table: inventory.Table, label: str) -> int | None:
    """Count the rows of a table; None: it was dropped meanwhile."""
    if table.bytes <= COUNTED_UP_TO_BYTES:
        name = inventory.quoted(table.namespace, table.name)
        try:
            query = f"SELECT count(*) FROM ONLY {name}".encode(connection.info.encoding)
            return _number(connection.execute(query).fetchone())
        except errors.QueryCanceled:
            pass
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            if connection.execute(_IS_THERE, [table.oid]).fetchone():
                raise SourceError(
                    f"The rows of {table.label} in {label} cannot be counted: {error}",
                    "If it was renamed just now, clear this task. Otherwise report this.",
                ) from error
            return None
    return _number(connection.execute(_STATISTICS, [table.oid]).fetchone())


def _number(row: TupleRow | None) -> int | None:
    return int(row[0]) if row else None
