"""Check that production would have selected the same rows by a condition as the scratch did."""

from __future__ import annotations

from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.core.row_tables import Condition, TableShape
from backup_playbook.core.words import counted
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.row_catalog import columns_of, create_temporary, read_shape, rows_of
from backup_playbook.engines.postgres.row_condition import REMEDY, evaluating, fitting
from backup_playbook.engines.postgres.row_search import FOUND
from backup_playbook.engines.postgres.row_staging import both_sides, copy_rows

_OTHERS_ASKED = 10_000
_SELECTED = quoted("backup_playbook selected")
_JUDGED = quoted("pg_temp", "backup_playbook judged")
_VIEW = quoted("pg_temp", "backup_playbook judgement")


def require_same_judgement(
    live: PostgresServer, scratch: PostgresServer, table: TableShape, condition: Condition
) -> None:
    """Let production judge all rows that were selected, and some that were not.

    A function may read of the server itself what nobody knows beforehand: catalogs, sequences, settings, checks that a
    scratch does not have. Raises RowRecoveryError, RestoreError, SourceError.
    """
    if condition.plain:
        return
    names = [name for name in table.columns if name in condition.columns]
    with both_sides(live, scratch) as (here, there), fitting(table):
        then = read_shape(there, table.name)
        assert then
        values = "".join(f"t.{quoted(name)}, " for name in names)
        create_temporary(
            here,
            f"CREATE TEMP TABLE {_JUDGED} ON COMMIT DROP AS SELECT {values}false AS {_SELECTED} "
            f"FROM {rows_of(table)} t WITH NO DATA",
        )
        found = f"EXISTS (SELECT FROM {FOUND} f WHERE f.selected AND f.relation = t.tableoid AND f.place = t.ctid)"
        into = f"{_JUDGED} ({''.join(f'{quoted(name)}, ' for name in names)}{_SELECTED})"
        for value, which in (("true", found), ("false", f"NOT {found} LIMIT {_OTHERS_ASKED}")):
            copy_rows(there, f"SELECT {values}{value} FROM {rows_of(then)} t WHERE {which}", here, into)
        row = f"(SELECT {columns_of('j', names)}) AS {quoted(table.name[1])}"
        # parsed before the path of production's functions is set
        view = f"SELECT j.{_SELECTED} AS selected, (SELECT ({condition.sql}) FROM {row}) AS meets FROM {_JUDGED} j"
        create_temporary(here, f"CREATE TEMP VIEW {_VIEW} AS {view}")
        evaluating(here, condition)
        query = f"SELECT count(*) FROM {_VIEW} WHERE (meets IS TRUE) <> selected"
        ((count,),) = here.execute(query.encode()).fetchall()
        if count:
            raise RowRecoveryError(
                f"The condition on {table.label} means other rows in a scratch: production judges "
                f"{counted(count, 'row')} of the backup otherwise. What it calls depends on more than the row: on "
                "catalogs, sequences, settings, or checks that a scratch does not have.",
                REMEDY,
            )
