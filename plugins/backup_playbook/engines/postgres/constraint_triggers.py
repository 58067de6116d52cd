"""Internal triggers of the server, which keep constraints: no dump shows whether they are switched off."""

from __future__ import annotations

from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

_SWITCHED_OFF: LiteralString = """
SELECT DISTINCT o.conname::text, o.conrelid::pg_catalog.regclass::text, t.tgrelid::pg_catalog.regclass::text
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_constraint o ON o.oid = t.tgconstraint
WHERE t.tgisinternal AND t.tgenabled IN ('D', 'R') AND o.contype IN ('f', 'p', 'u', 'x')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                  AND d.objid = t.tgrelid AND d.deptype = 'e')
ORDER BY 1, 2, 3
"""


def switched_off(connection: Connection[TupleRow]) -> list[str]:
    """Write a sentence for each constraint that the server does not keep. A restore switches all of them on."""
    return [
        f"The constraint {name} of {table} is not kept: its triggers on {on} are switched off."
        for name, table, on in connection.execute(_SWITCHED_OFF).fetchall()
    ]
