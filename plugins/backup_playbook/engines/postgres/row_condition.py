"""Conditions: their meaning in production, in words that mean the same in a scratch; or why there are none.

The server itself reads it, as a check of an empty temporary table: that allows no subqueries and no columns of the
system, and its parsed form has every function by its oid, whatever the text does to hide it. What the server writes of
that form has every name with its schema.

A condition of immutable functions, written in C, depends on the row alone. One of other functions is asked of rows when
all of them are loaded, with production's settings, and the server's statistics tell whether it read another table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.core.row_tables import Condition, TableShape
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.row_catalog import TREE, create_temporary, said
from backup_playbook.engines.postgres.session import SETTINGS, set_statements

REMEDY = "Compare the table's own columns with values; or name the rows by `keys`."
_ROWS_TRIED = 1000
_FIRST_OF_USERS = 16384
_PLACE = quoted("pg_temp", "backup_playbook place")

# asked on the search_path of production, where an ordinary user may have a function or a type that fits any name better
_PATH: LiteralString = "SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]"

# what a function that is not immutable may depend on, besides its arguments; only superusers may set some of plpgsql's
_SETTINGS: LiteralString = """
SELECT name, current_setting(name) FROM unnest(ARRAY['TimeZone', 'DateStyle', 'IntervalStyle', 'bytea_output',
  'extra_float_digits', 'lc_monetary', 'lc_numeric', 'lc_time', 'default_text_search_config', 'xmlbinary']) name
UNION ALL SELECT name, current_setting(name) FROM (
  SELECT DISTINCT split_part(setting, '=', 1) AS name FROM pg_db_role_setting s, unnest(s.setconfig) setting
  WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))) of_application
WHERE name LIKE '%.%' AND name NOT LIKE 'plpgsql.%' AND current_setting(name, true) IS NOT NULL
  AND NOT EXISTS (SELECT FROM pg_settings p WHERE p.name = of_application.name AND p.context <> 'user')
"""

_GENERATED: LiteralString = """
SELECT a.attname::text, d.adbin::text FROM pg_catalog.pg_attrdef d
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.adrelid = pg_catalog.to_regclass(%s) AND a.attgenerated <> '' AND a.attname = ANY (%s::text[])
"""

_PARSED: LiteralString = """
SELECT pg_catalog.pg_get_expr(c.conbin, c.conrelid), c.conbin::text,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.conrelid AND a.attnum > 0 AND (a.attnum = ANY (c.conkey) OR 0 = ANY (c.conkey)))
FROM pg_catalog.pg_constraint c WHERE c.conrelid = pg_catalog.to_regclass(%s) AND c.contype = 'c'
"""

_FUNCTIONS: LiteralString = """
SELECT p.oid::bigint, p.oid::regprocedure::text AS signature, p.proname::text AS name, l.lanname::text AS language,
       p.provolatile::text AS volatility,
       p.prorettype = ANY (t.times) OR p.proargtypes::oid[] && t.times AS of_times,
       ARRAY(SELECT d.refobjid::regclass::text FROM pg_catalog.pg_depend d
             WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
               AND d.refclassid = 'pg_catalog.pg_class'::regclass) AS reads
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang,
     (SELECT ARRAY['date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval']::regtype[]::oid[] AS times) t
WHERE p.oid = ANY (%(oids)s::oid[]) OR p.oid IN (SELECT oprcode FROM pg_catalog.pg_operator WHERE oid = ANY (%(ops)s))
ORDER BY 2
"""

# functions of the application, and those that they name, which they may call
_CALLED: LiteralString = """
WITH RECURSIVE called(oid) AS (
  SELECT unnest(%(functions)s::oid[])
  UNION SELECT p.oid FROM called, pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE p.prokind = 'f' AND l.lanname NOT IN ('internal', 'c') AND p.oid >= 16384
    AND position(lower(p.proname) IN lower(pg_catalog.pg_get_functiondef(called.oid))) > 0)
SELECT p.oid::regprocedure::text, pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid)), p.proowner::regrole::text,
       pg_catalog.pg_has_role(p.proowner, c.relowner, 'MEMBER')
         OR pg_catalog.pg_has_role(p.proowner, current_user, 'MEMBER')
FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.oid, pg_catalog.pg_class c WHERE c.oid = to_regclass(%(table)s)
"""

# of the server's own functions that are not immutable, those that depend on arguments, settings and the clock alone;
# besides those of times
_STABLE = frozenset((
    "array_to_json", "array_to_string", "concat", "concat_ws", "format", "json_build_array", "json_build_object",
    "jsonb_build_array", "jsonb_build_object", "jsonb_path_exists_tz", "phraseto_tsquery", "plainto_tsquery",
    "quote_literal", "quote_nullable", "row_to_json", "to_char", "to_json", "to_jsonb", "to_number", "to_tsquery",
    "to_tsvector", "websearch_to_tsquery",
))  # fmt: skip
# in the order of Postgres' SQLValueFunctionOp: before these come the words for times
_FIRST_OF_NAMES = 9

_SCANS: LiteralString = """
SELECT schemaname || '.' || relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) - (relid = ANY (%s::oid[]))::int
FROM pg_catalog.pg_stat_xact_user_tables WHERE schemaname <> 'backup_playbook'
"""


@dataclass(frozen=True)
class _Function:
    oid: int
    signature: str
    name: str
    language: str
    volatility: str
    of_times: bool
    reads: list[str]

    @property
    def is_of_server(self) -> bool:
        return self.oid < _FIRST_OF_USERS

    @property
    def is_compiled(self) -> bool:
        return self.language in ("internal", "c")

    @property
    def is_of_application(self) -> bool:
        return not (self.is_compiled or self.is_of_server)

    @property
    def objection(self) -> str:
        """Reason why it may have another result in a scratch; empty when there is none."""
        if self.volatility == "v":
            return "is VOLATILE: it may have another result each time"
        if self.reads:
            return f"reads {', '.join(self.reads)}"
        own = self.is_of_server and self.volatility == "s"
        allowed = self.name in _STABLE or (self.of_times and not self.name.startswith("pg_"))
        return "depends on more than its arguments" if own and not allowed else ""


def understand(connection: Connection[TupleRow], table: TableShape, where: str) -> Condition:
    """Let the server understand a condition. Raises RowRecoveryError.

    connection: in a transaction that nothing was asked in yet, and that is rolled back.
    """
    connection.execute(b"SET TRANSACTION READ WRITE")  # for the temporary table
    connection.execute(b"SET LOCAL lock_timeout = '10s'")
    settings = _settings(connection)
    temporary = quoted("pg_temp", table.name[1])  # what the condition may call the table
    create_temporary(connection, f"CREATE TEMP TABLE {temporary} (LIKE {quoted(*table.name)})")
    codec = connection.info.encoding
    set_path = "SELECT pg_catalog.set_config('search_path', %s, true)"
    with fitting(table):
        connection.execute(set_path, [settings["search_path"]])
        # two places that no text fits both of unless it is one expression; prepared: one statement. Neither is planned:
        # a plan would call functions, and nobody knows yet whose they are.
        view = f"CREATE TEMP VIEW {_PLACE} AS SELECT 1 AS one FROM {quoted(*table.name)} WHERE ({where}\n) LIMIT 0"
        connection.execute(view.encode(codec), prepare=True)
        check = f"ALTER TABLE {temporary} ADD CHECK ({where}\n) NOT VALID"
        connection.execute(check.encode(codec), prepare=True)
    connection.execute(set_statements(SETTINGS, local=True).encode())
    ((sql, tree, columns),) = connection.execute(_PARSED, [temporary]).fetchall()
    functions = _functions(connection, tree)
    _require_fit(table, functions, tree)
    _require_plain_columns(connection, table, columns)
    watched = _watched(connection, table, functions)
    whole_row = ":varattno 0 " in tree  # COPY into a partition has a row of another type
    compiled = all(item.is_compiled for item in functions)
    plain = not whole_row and compiled and _is_immutable(connection, temporary, sql)
    condition = Condition(sql, frozenset(columns), plain, watched, {} if plain else settings)
    if watched:
        _try(connection, table, condition)
    return condition


def _settings(connection: Connection[TupleRow]) -> dict[str, str]:
    """Read the settings of the session, and leave its search_path without schemas of the application."""
    ((schemas,),) = connection.execute(_PATH).fetchall()
    connection.execute(b"SET LOCAL search_path = pg_catalog")
    settings: dict[str, str] = dict(connection.execute(_SETTINGS).fetchall())
    return {**settings, "search_path": ", ".join(map(quoted, schemas)) or "pg_catalog"}


def _watched(connection: Connection[TupleRow], table: TableShape, functions: Sequence[_Function]) -> dict[str, str]:
    """Find the functions of the application that would be called, with digests of what they do.

    They run with the rights of this role. Raises RowRecoveryError for one whose owner could not do as much by a trigger
    of the table.
    """
    own = [item.oid for item in functions if item.is_of_application]
    called = connection.execute(_CALLED, {"functions": own, "table": quoted(*table.name)}).fetchall()
    if strange := [f"{name} of {owner}" for name, _, owner, trusted in called if not trusted]:
        raise RowRecoveryError(
            f"The condition on {table.label} would call functions that do not belong to the table's owner: "
            f"{', '.join(strange)}. They would run with the rights of this recovery.",
            f"Name the schema of the function that you mean; or give it to the table's owner. {REMEDY}",
        )
    return {name: digest for name, digest, *_ in called}


@contextmanager
def fitting(table: TableShape) -> Iterator[None]:
    """Say what the server has against a condition, without values of rows. Raises RowRecoveryError, RestoreError."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise RestoreError(
            f"{table.label} could not be asked: {said(error)}",
            "Look at the server's log for this time, and for who locks the table (pg_locks); then clear this task.",
        ) from None
    except psycopg.Error as error:
        raise RowRecoveryError(
            f"The condition does not fit {table.label}: {said(error)}",
            f"Correct it; the table has the columns {', '.join(table.columns)}. Other tables cannot be asked: a "
            "scratch has no rows of them.",
        ) from None


def evaluating(connection: Connection[TupleRow], condition: Condition) -> None:
    """Give the transaction the settings by which production would judge rows."""
    for name, value in condition.settings.items():
        connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", [name, value])


@contextmanager
def reading_nothing_else(connection: Connection[TupleRow], table: TableShape, condition: Condition) -> Iterator[None]:
    """Raise RowRecoveryError when more was read in the block than the table once; within a transaction."""
    if condition.plain:
        yield
        return
    ((own,),) = connection.execute(f"{TREE} SELECT array_agg(oid::bigint) FROM tree", [quoted(*table.name)]).fetchall()
    connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # what others read is not counted here
    before: dict[str, int] = dict(connection.execute(_SCANS, [[]]).fetchall())
    yield
    after = connection.execute(_SCANS, [own]).fetchall()
    ((counting,),) = connection.execute("SELECT pg_catalog.current_setting('track_counts')").fetchall()
    read = sorted(name for name, scans in after if scans > before.get(name, 0))
    if counting != "on" and condition.functions:
        raise RowRecoveryError(
            f"Nobody can tell whether {', '.join(condition.functions)} reads other tables: track_counts is off.", REMEDY
        )
    if read:
        used = ", ".join(condition.functions) or "what the condition uses"
        raise RowRecoveryError(
            f"The condition reads more than the row of {table.label}: {used} has read {', '.join(read)}, not as "
            "it is in production.",
            REMEDY,
        )


def changed_functions(connection: Connection[TupleRow], condition: Condition) -> list[str]:
    """Name the functions that are not there, or do something else than in production."""
    query = "SELECT pg_catalog.md5(pg_catalog.pg_get_functiondef(pg_catalog.to_regprocedure(%s)))"
    found = {name: connection.execute(query, [name]).fetchall()[0][0] for name in condition.functions}
    return [name for name, digest in condition.functions.items() if found[name] != digest]


def _functions(connection: Connection[TupleRow], tree: str) -> Sequence[_Function]:
    oids = [int(oid) for oid in re.findall(r":(?:op)?funcid (\d+)", tree)]
    operators = [int(oid) for found in re.findall(r":opnos \(o ([\d ]+)\)", tree) for oid in found.split()]
    with connection.cursor(row_factory=class_row(_Function)) as cursor:
        return cursor.execute(_FUNCTIONS, {"oids": oids, "ops": operators}).fetchall()


def _require_fit(table: TableShape, functions: Sequence[_Function], tree: str) -> None:
    objections = [f"{item.signature} {item.objection}" for item in functions if item.objection]
    if any(int(op) >= _FIRST_OF_NAMES for op in re.findall(r"\{SQLVALUEFUNCTION :op (\d+)", tree)):
        objections.append("the names of the user, the schema or the database are others in a scratch")
    if re.search(r":varattno -", tree):
        objections.append("columns of the system are others in a scratch")
    if objections:
        raise RowRecoveryError(
            f"The condition on {table.label} might mean other rows in a scratch: {'; '.join(objections)}.", REMEDY
        )


def _require_plain_columns(connection: Connection[TupleRow], table: TableShape, columns: Sequence[str]) -> None:
    """Raise RowRecoveryError for a generated column whose function may have another result in a scratch."""
    for column, tree in connection.execute(_GENERATED, [quoted(*table.name), columns]).fetchall():
        if called := [item.signature for item in _functions(connection, tree) if item.is_of_application]:
            raise RowRecoveryError(
                f"The condition on {table.label} names {column}, which {', '.join(called)} generates: a scratch might "
                "have another value.",
                REMEDY,
            )


def _is_immutable(connection: Connection[TupleRow], temporary: str, sql: str) -> bool:
    """Let the server judge: it takes nothing else as the predicate of an index."""
    try:
        with connection.transaction():
            connection.execute(
                f"CREATE INDEX ON {temporary} ((1)) WHERE {sql}".encode(connection.info.encoding), prepare=True
            )
    except psycopg.Error:
        return False
    return True


def _try(connection: Connection[TupleRow], table: TableShape, condition: Condition) -> None:
    """Judge some rows of production: a condition that reads other tables is found before anything is restored."""
    view = quoted("pg_temp", "backup_playbook tried")  # parsed before the path of production's functions is set
    create_temporary(
        connection,
        f"CREATE TEMP VIEW {view} AS SELECT ({condition.sql}) AS meets "
        f"FROM (SELECT * FROM {quoted(*table.name)} LIMIT {_ROWS_TRIED}) AS {quoted(table.name[1])}",
    )
    evaluating(connection, condition)
    with fitting(table), reading_nothing_else(connection, table, condition):
        connection.execute(f"SELECT count(meets) FROM {view}".encode())
