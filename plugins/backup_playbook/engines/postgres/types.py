"""Types while a backup runs: no lock holds them, and COPY writes labels and records as they are at that moment.

The schema is of the snapshot. A label that is another one by then would come back in rows that never had it.
"""

from __future__ import annotations

from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

# xmin: changed and changed back is changed, too. A label that is new is in no row; who may use a type says nothing.
_TYPES: LiteralString = """
WITH types AS (
  SELECT t.oid, t.typrelid, t.typtype, n.nspname || '.' || t.typname AS name
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  WHERE t.typtype <> 'p' AND t.typelem = 0 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (t.typrelid = 0 OR c.relkind = 'c' OR c.relkind IN ('v', 'm', 'f', 'p') AND EXISTS (
      SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_type'::regclass
        AND d.refobjid IN (t.oid, t.typarray) AND d.classid = 'pg_catalog.pg_class'::regclass AND d.objsubid > 0)))
SELECT 'type ' || oid, name, '' FROM types
UNION ALL SELECT 'label ' || e.oid, name, e.enumlabel || ' ' || e.xmin
  FROM types JOIN pg_catalog.pg_enum e ON e.enumtypid = types.oid
UNION ALL SELECT 'attributes ' || types.oid, name,
    string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attisdropped), ',' ORDER BY a.attnum)
  FROM types JOIN pg_catalog.pg_attribute a ON a.attrelid = types.typrelid WHERE a.attnum > 0 GROUP BY 1, 2
"""

Types = dict[str, tuple[str, str]]


def read_types(connection: Connection[TupleRow]) -> Types:
    """Name and description of every type, label, and list of attributes."""
    return {key: (name, what) for key, name, what in connection.execute(_TYPES).fetchall()}


def changed(before: Types, now: Types) -> list[str]:
    """Names of types that are not what they were. What is gone no row could have: a column that uses it is held."""
    return sorted({name for key, (name, what) in before.items() if key in now and now[key] != (name, what)})
