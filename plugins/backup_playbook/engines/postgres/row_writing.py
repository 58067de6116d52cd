"""Statements that write rows over others: those of an import, and those of its undo script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.row_catalog import UniqueConstraint, columns_of
from backup_playbook.engines.postgres.row_staging import StagedTable, Way

_NUMBER = quoted("backup_playbook number")
# values that no row has, or is to have, by types that have an endless number of them
_UNUSED: Mapping[str, str] = {
    **dict.fromkeys(("smallint", "integer", "bigint", "numeric", "date"), "greatest({0}) + s.{1}::int"),
    **dict.fromkeys(("text", "character varying"), "md5(random()::text || s.{1})"),
    "uuid": "gen_random_uuid()",
}


@dataclass(frozen=True)
class Overwriting:
    """Parts of a WITH that give rows of `table` the values of `source`, whose key is that of `alias`.

    columns: those that it has values for; others keep theirs, which `r` has in it.
    """

    table: StagedTable
    number: int
    way: Way
    source: str
    alias: str
    columns: Sequence[str]

    @property
    def deletion(self) -> str | None:
        """Part that deletes the rows, if they are written anew."""
        if self.way != "anew":
            return None
        return (
            f"g{self.number} AS (DELETE FROM {self.table.rows} t USING {self.source} "
            f"WHERE {self.table.same_key(self.alias, 't')} RETURNING 1)"
        )

    def writing(self, gone: str) -> str:
        """Part that writes the rows. gone: a condition that is met, and known, when all deletions are done."""
        if self.way == "anew":
            listed = ", ".join(map(quoted, self.table.live.stored))
            values = ", ".join(map(self._value, self.table.live.stored))
            command = (
                f"INSERT INTO {self.table.target} ({listed}) OVERRIDING SYSTEM VALUE SELECT {values} "
                f"FROM {self.source} WHERE {gone}"
            )
        elif given := _settable(self.table, self.columns):
            values = ", ".join(f"{quoted(name)} = {self._value(name)}" for name in given)
            command = (
                f"UPDATE {self.table.rows} t SET {values} FROM {self.source} "
                f"WHERE {self.table.same_key(self.alias, 't')} AND {gone}"
            )
        else:
            return f"u{self.number} AS (SELECT WHERE false)"
        return f"u{self.number} AS ({command} RETURNING 1)"

    def _value(self, name: str) -> str:
        return f"{self.alias if name in self.columns else 'r'}.{quoted(name)}"


def all_gone(deletions: Sequence[str]) -> str:
    """Write a condition that waits for all deletions: else Postgres runs the parts of a WITH in any order."""
    numbers = [f"(SELECT count(*) FROM {part.split(' ', 1)[0]})" for part in deletions]
    return f"{' + '.join(numbers)} >= 0" if numbers else "true"


def park(table: StagedTable, constraints: Sequence[UniqueConstraint], source: str, wanted: str) -> str:
    """Free the unique values of the rows whose keys are in `source`, before they get those that are in `wanted`."""
    found = [value for item in constraints if (value := parking(table, item, wanted))]
    values = ", ".join(f"{quoted(name)} = {value}" for name, value in dict(found).items())
    keys = columns_of("k", table.key)
    return (
        f"UPDATE {table.rows} t SET {values} FROM (SELECT {keys}, row_number() OVER () AS {_NUMBER} FROM {source} k) s "
        f"WHERE {table.same_key('s', 't')}"
    )


def parking(table: StagedTable, constraint: UniqueConstraint, wanted: str) -> tuple[str, str] | None:
    """Choose a column of a constraint, and a value by which no two rows meet; None: nobody knows one."""
    free = [
        name
        for name in constraint.columns
        if name not in table.key and not table.live.columns[name].generated and table.live.columns[name].identity != "a"
    ]
    for name in free:
        # of one that is referred to, NULL would cascade
        if table.live.columns[name].nullable and name not in table.referred and not constraint.nulls_meet:
            return name, "NULL"
    for name in free:
        if value := _UNUSED.get(table.live.columns[name].cast):
            newest = ", ".join(f"(SELECT max({quoted(name)}) FROM {rows})" for rows in (table.rows, wanted))
            return name, value.format(newest, _NUMBER)
    return None


def _settable(table: StagedTable, columns: Sequence[str]) -> list[str]:
    """Columns that an UPDATE may give a value; those of the key have theirs."""
    return [name for name in columns if name not in table.key and table.live.columns[name].identity != "a"]
