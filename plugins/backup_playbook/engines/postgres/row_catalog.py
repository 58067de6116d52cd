"""Catalog of a database, for rows that are looked for in a table of it: columns, keys, constraints, triggers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.core.row_tables import Column, ForeignKey, Selection, TableName, TableShape, select_rows
from backup_playbook.core.server_words import message
from backup_playbook.engines.postgres.inventory import quoted

_TABLES: LiteralString = """
SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
  ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1, 2
"""

# format_type with -1: `character` would be one character long, `bpchar` is not
_COLUMNS: LiteralString = """
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.format_type(a.atttypid, -1),
       a.attgenerated <> '', a.attidentity::text,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '',
       NOT a.attnotnull
FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

# Which rows are equal is for the operators of the index to say: `=` on a search_path without the schema of citext would
# compare its values as text. {}: an expression for the oid of an operator, for an array of them, or for that of an
# operator class.
_OPERATOR = """(SELECT 'OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')'
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid = {})"""
_OPERATORS = f"""
ARRAY(SELECT {_OPERATOR.format("e.oid")} FROM unnest({{}}) WITH ORDINALITY e(oid, place) ORDER BY e.place)"""
_EQUALITY = """(SELECT m.amopopr FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily
  AND m.amopstrategy = 3 AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
  WHERE c.opcmethod = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'btree') AND c.oid = {})"""
_EQUAL = f"coalesce({_OPERATOR.format(_EQUALITY)}, '=')"
# {}: expressions for an array of numbers of columns, and for their table
_COLUMN_NAMES = """
ARRAY(SELECT a.attname::text FROM unnest({}) WITH ORDINALITY k(attnum, place)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = {} AND a.attnum = k.attnum ORDER BY k.place)"""

_KEY = f"""
SELECT a.attname::text, {_EQUAL.format("i.indclass[k.place - 1]")}
FROM pg_catalog.pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, place)
JOIN pg_catalog.pg_attribute a ON a.attnum = k.attnum
WHERE i.indrelid = %(table)s AND i.indisprimary AND a.attrelid = %(table)s AND k.place <= i.indnkeyatts
ORDER BY k.place
"""

# Of partitions, those of the partitioned table count; one that a partition has, or is referred to by, alone is told as
# if it were of the partitioned table. One that is not enforced promises nothing; one of a PERIOD is met by several rows
# together, which only the server can tell.
_FOREIGN_KEYS = f"""
WITH actions(code, action) AS (
  VALUES ('c', 'cascade'), ('n', 'set null'), ('d', 'set default'), ('r', 'restrict'), ('a', 'no action'))
SELECT f.conname::text AS name,
       ARRAY[cn.nspname::text, c.relname::text] AS child, {_COLUMN_NAMES.format("f.conkey", "f.conrelid")},
       ARRAY[pn.nspname::text, p.relname::text] AS parent, {_COLUMN_NAMES.format("f.confkey", "f.confrelid")},
       d.action, {_OPERATORS.format("f.conpfeqop")}, u.action, c.oid <> f.conrelid
FROM pg_catalog.pg_constraint f
JOIN actions d ON d.code = f.confdeltype JOIN actions u ON u.code = f.confupdtype
JOIN pg_catalog.pg_class c ON c.oid = coalesce(pg_catalog.pg_partition_root(f.conrelid), f.conrelid)
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = coalesce(pg_catalog.pg_partition_root(f.confrelid), f.confrelid)
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
  AND coalesce((to_jsonb(f) ->> 'conenforced')::bool, true) AND NOT coalesce((to_jsonb(f) ->> 'conperiod')::bool, false)
ORDER BY child, name
"""

# one that a partition has alone is for the rows that belong into it
_CONSTRAINTS = f"""
SELECT c.relname::text AS name,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts) k)
         AS expressions,
       coalesce((SELECT {_OPERATORS.format("x.conexclop")} FROM pg_catalog.pg_constraint x
                 WHERE x.conindid = i.indexrelid AND x.conexclop IS NOT NULL),
                ARRAY(SELECT {_EQUAL.format("i.indclass[k - 1]")} FROM generate_series(1, i.indnkeyatts) k))
         AS operators,
       concat_ws(' AND ', coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), 'true'),
                 CASE WHEN i.indrelid <> %(table)s THEN pg_catalog.pg_get_partition_constraintdef(i.indrelid) END)
         AS condition,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid
             AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) AS columns,
       i.indimmediate AS immediate, coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_meet
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE (i.indrelid = %(table)s OR NOT c.relispartition
                              AND i.indrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(%(table)s)))
  AND (i.indisunique OR i.indisexclusion)
  AND (NOT i.indisprimary OR i.indisexclusion)
ORDER BY c.relname
"""

# those of partitions too: each may have its own, and one that it has of the partitioned table may be switched there
_TRIGGERS: LiteralString = """
SELECT n.nspname::text, c.relname::text, t.tgname::text,
       CASE t.tgenabled WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
  AND (c.oid = %(table)s OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(%(table)s)))
ORDER BY 1, 2, 3
"""

_RULES: LiteralString = """
SELECT rulename::text FROM pg_catalog.pg_rewrite
WHERE ev_class = %s AND ev_type <> '1' AND ev_enabled IN ('O', 'A') ORDER BY 1
"""

_DDL_TRIGGERS: LiteralString = """
SELECT string_agg(pg_catalog.quote_ident(evtname), ', ' ORDER BY evtname), pg_catalog.quote_literal(session_user)
FROM pg_catalog.pg_event_trigger WHERE evtenabled IN ('O', 'A') AND evtevent IN ('ddl_command_start', 'ddl_command_end')
"""


# takes the name of a table; the tables that inherit from it, and itself
TREE = """
WITH RECURSIVE tree(oid) AS (
  SELECT pg_catalog.to_regclass(%s)::oid
  UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
"""


@dataclass(frozen=True)
class UniqueConstraint:
    """Unique index or exclusion constraint: no two rows have `expressions` that all meet their `operators`.

    columns: those of the expressions that are plain columns. immediate: checked with each row, not with each statement.
    nulls_meet: NULLS NOT DISTINCT.
    """

    name: str
    expressions: list[str]
    operators: list[str]
    condition: str
    columns: list[str]
    immediate: bool
    nulls_meet: bool

    def meet(self, one: str, other: str, names: Sequence[str]) -> str:
        """Write `one.a = other.a AND ...`; one, other: aliases that have the expressions by these names."""
        equal = (f"{one}.{n} {op} {other}.{n}" for n, op in zip(names, self.operators, strict=True))
        if self.nulls_meet:
            pairs = zip(equal, names, strict=True)
            equal = (f"({pair} OR {one}.{n} IS NULL AND {other}.{n} IS NULL)" for pair, n in pairs)
        return " AND ".join(equal)


@dataclass(frozen=True)
class Trigger:
    """Trigger of a person's. enable: words of ALTER TABLE that switch it on as it is now."""

    table: TableName
    name: str
    enable: str

    def switch(self, words: str) -> str:
        """Write the command that switches it; words: `DISABLE`, or `enable`."""
        # ONLY: else those of all partitions would be as this one is afterwards
        return f"ALTER TABLE ONLY {quoted(*self.table)} {words} TRIGGER {quoted(self.name)}"


def find_table(connection: Connection[TupleRow], wanted: str) -> TableShape:
    """Find `schema.table`, or `table` of the schema public; a partition stands for the table that it belongs to.

    Raises RowRecoveryError.
    """
    names = [(namespace, name) for namespace, name in connection.execute(_TABLES).fetchall()]
    by_label = {".".join(name): name for name in names} | {name: (space, name) for space, name in names if
                                                          space == "public" and "." not in name}  # fmt: skip
    if wanted in by_label:
        shape = read_shape(connection, _root(connection, by_label[wanted]))
        assert shape
        return shape
    near = ", ".join(difflib.get_close_matches(wanted, by_label, 3, 0.5))
    raise RowRecoveryError(
        f"Production has no table {wanted!r}.",
        f"Correct the name{f' (is it {near}?)' if near else ''}. When the whole table was dropped: restore it with "
        "restore_database.",
    )


def choose_rows(connection: Connection[TupleRow], table: TableShape, keys: Sequence[str], where: str) -> Selection:
    """Select rows as a form names them. Raises RowRecoveryError for keys that the server does not understand."""
    selection = select_rows(keys, where, table)
    require_characters(connection.info.encoding, (*keys, where))
    try:
        cast_keys(connection, table.key, table, selection.keys)
    except psycopg.Error as error:
        key = ", ".join(f"{name} ({table.columns[name].type})" for name in table.key)
        raise RowRecoveryError(
            f"A key does not fit {table.label}: {said(error)}", f"Correct it; the key has the columns {key}."
        ) from None
    return selection


def cast_keys(
    connection: Connection[TupleRow], key: Sequence[str], table: TableShape, values: Sequence[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Let the server write values of a key, as columns of this table spell them. Raises psycopg.Error."""
    if not values:
        return []
    names = [f"v{number}" for number in range(len(key))]
    texts = ", ".join(f"{v}::{table.columns[name].cast}::text" for v, name in zip(names, key, strict=True))
    query = f"SELECT {texts} FROM unnest({', '.join('%s::text[]' for _ in names)}) v({', '.join(names)})"
    arrays = [list(column) for column in zip(*values, strict=True)]
    return [tuple(row) for row in connection.execute(query.encode(connection.info.encoding), arrays).fetchall()]


def require_characters(codec: str, texts: Iterable[str]) -> None:
    """Raise RowRecoveryError for a text that no database of this encoding can hold."""
    for text in texts:
        try:
            text.encode(codec)
        except UnicodeEncodeError as error:
            raise RowRecoveryError(
                f"{error.object[error.start : error.end]!r} in a key or the condition is no character of the "
                f"database's encoding ({codec}): no row can have it.",
                "Write it as the database does.",
            ) from None


def read_shape(connection: Connection[TupleRow], table: TableName) -> TableShape | None:
    """Read the shape of a table; None when there is no such one."""
    row = connection.execute(
        "SELECT oid::bigint, relkind = 'p' FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass(%s)",
        [quoted(*table)],
    ).fetchone()
    if row is None:
        return None
    oid, partitioned = row
    columns = {name: Column(*facts) for name, *facts in connection.execute(_COLUMNS, [oid]).fetchall()}
    key = connection.execute(_KEY.encode(), {"table": oid}).fetchall()
    return TableShape(table, partitioned, tuple(name for name, _ in key), tuple(equal for _, equal in key), columns)


def read_foreign_keys(connection: Connection[TupleRow]) -> list[ForeignKey]:
    """Read the foreign keys of all tables."""
    rows = connection.execute(_FOREIGN_KEYS.encode()).fetchall()
    values: list[list[Any]] = [[tuple(v) if isinstance(v, list) else v for v in row] for row in rows]
    return [ForeignKey(*row) for row in values]


def read_constraints(connection: Connection[TupleRow], table: TableName) -> list[UniqueConstraint]:
    """Read the unique and exclusion constraints of a table besides its primary key."""
    with connection.cursor(row_factory=class_row(UniqueConstraint)) as cursor:
        return cursor.execute(_CONSTRAINTS.encode(), {"table": _oid(connection, table)}).fetchall()


def read_triggers(connection: Connection[TupleRow], tables: Iterable[TableName]) -> list[Trigger]:
    """Read the triggers of people, not of foreign keys, that are not disabled."""
    found = (connection.execute(_TRIGGERS, {"table": _oid(connection, table)}).fetchall() for table in tables)
    return [Trigger((namespace, table), name, enable) for rows in found for namespace, table, name, enable in rows]


def read_rules(connection: Connection[TupleRow], table: TableName) -> list[str]:
    """Read the rewrite rules by which something else is written than a statement says."""
    return [name for (name,) in connection.execute(_RULES, [_oid(connection, table)]).fetchall()]


def create_temporary(connection: Connection[TupleRow], command: str) -> None:
    """Create a temporary table or view, within a transaction.

    Raises RowRecoveryError when production's event triggers forbid it.
    """
    try:
        with connection.transaction():
            connection.execute(command.encode(connection.info.encoding))
    except psycopg.Error as error:
        ((triggers, user),) = connection.execute(_DDL_TRIGGERS).fetchall()
        if triggers is None or isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise
        raise RowRecoveryError(
            f"Production refuses a temporary table; its event triggers are {triggers}: {said(error)}",
            "Rows are compared in temporary tables, which end with the transaction. Let the function of the event "
            f"trigger pass them for this role: IF session_user = {user} THEN RETURN; END IF;",
        ) from None


def said(error: psycopg.Error) -> str:
    """Words of the server in one line, without its DETAIL and CONTEXT, which have values of rows in them."""
    words = (message(error.diag.message_primary or str(error), error.sqlstate), error.diag.message_hint)
    return " ".join(" ".join(filter(None, words)).split())


def _root(connection: Connection[TupleRow], table: TableName) -> TableName:
    row = connection.execute(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid = c.relnamespace WHERE c.oid = coalesce(pg_catalog.pg_partition_root(%(table)s), %(table)s)",
        {"table": _oid(connection, table)},
    ).fetchone()
    assert row
    return row[0], row[1]


def _oid(connection: Connection[TupleRow], table: TableName) -> int:
    ((oid,),) = connection.execute("SELECT pg_catalog.to_regclass(%s)::oid::bigint", [quoted(*table)]).fetchall()
    return int(oid)


def columns_of(table: TableName | str, columns: Iterable[str]) -> str:
    """Write `t."a", t."b"`; table: an alias, or a name that is quoted."""
    prefix = table if isinstance(table, str) else quoted(*table)
    return ", ".join(f"{prefix}.{quoted(column)}" for column in columns)


def rows_of(table: TableShape) -> str:
    """Write the table for FROM: with its partitions, without tables that inherit from it, which have their own keys."""
    return f"{'' if table.partitioned else 'ONLY '}{quoted(*table.name)}"


def same_key(table: TableShape, one: str, other: str) -> str:
    """Write `one.a = other.a AND ...`; one, other: aliases."""
    pairs = zip(table.key, table.key_operators, strict=True)
    return " AND ".join(f"{one}.{quoted(name)} {equals} {other}.{quoted(name)}" for name, equals in pairs)


def refers(link: ForeignKey, parent: str, child: str) -> str:
    """Write `parent.a = child.b AND ...`; parent, child: aliases."""
    pairs = zip(link.parent_columns, link.operators, link.child_columns, strict=True)
    return " AND ".join(f"{parent}.{quoted(a)} {equals} {child}.{quoted(b)}" for a, equals, b in pairs)
