"""Types that change while a backup runs, and types that hold rows of a table as values.

No lock holds a type, and COPY writes labels and records as they are by then, not as the snapshot has them. A label that
was renamed meanwhile would come back in rows that never had it.
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

# and as parts of values: of arrays, domains, ranges and other rows; a table without pages has none
_STORED_AS_VALUES: LiteralString = """
WITH RECURSIVE held AS (
  SELECT reltype AS type FROM pg_catalog.pg_class WHERE oid = %s
  UNION SELECT holding.type FROM held CROSS JOIN LATERAL (
    SELECT t.oid FROM pg_catalog.pg_type t WHERE held.type IN (t.typbasetype, t.typelem)
    UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngsubtype = held.type
    UNION ALL SELECT (to_jsonb(r) ->> 'rngmultitypid')::oid FROM pg_catalog.pg_range r WHERE r.rngtypid = held.type
    UNION ALL SELECT c.reltype FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
      WHERE a.atttypid = held.type AND NOT a.attisdropped AND c.reltype <> 0
  ) holding(type) WHERE holding.type IS NOT NULL
)
SELECT DISTINCT c.oid::pg_catalog.regclass::text AS name FROM held
JOIN pg_catalog.pg_attribute a ON a.atttypid = held.type AND NOT a.attisdropped
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) > 0 ORDER BY name
"""

Types = dict[str, tuple[str, str]]


def read_types(connection: Connection[TupleRow]) -> Types:
    """Read name and description of every type, label, and list of attributes."""
    return {key: (name, what) for key, name, what in connection.execute(_TYPES).fetchall()}


def changed(before: Types, now: Types) -> list[str]:
    """Name the types that are not what they were.

    One that is gone is no concern: a type that a column uses cannot be dropped.
    """
    return sorted({name for key, (name, what) in before.items() if key in now and now[key] != (name, what)})


def stored_as_values(connection: Connection[TupleRow], oid: int) -> list[str]:
    """Tables that have a column of this table's row type."""
    return [name for (name,) in connection.execute(_STORED_AS_VALUES, [oid]).fetchall()]
