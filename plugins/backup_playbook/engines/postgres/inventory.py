"""Contents of a database: read inside the snapshot, so that they are what the streams will see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow, class_row, dict_row

from backup_playbook.core.errors import SourceError
from backup_playbook.engines.postgres.details import Extension, Roles

NAMES_SHOWN = 10

# pg_dump's rules: nothing of the system, of temporary schemas, or of extensions, but for the configuration tables that
# an extension registers, with their condition.
_DUMPED = """
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_depend d
  ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND c.oid = ANY (e.extconfig)
WHERE c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (d.objid IS NULL OR e.oid IS NOT NULL)
  AND NOT (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery())
"""

# Ordinary tables and partitions that hold rows of their own.
# Hashes of enums, of what is made of them, and of oids (regclass ...) differ from database to database: such rows find
# their partition anew; and so do those of other operator classes, or of collations that libraries define.
# Functions look at the present, not at the snapshot, and give NULL for a table that was just dropped: hence coalesce.
_TABLES = f"""
SELECT c.oid::bigint AS oid, n.nspname AS namespace, c.relname AS name,
       CASE WHEN e.oid IS NOT NULL THEN 'extension' WHEN c.relpersistence = 'u' THEN 'unlogged' ELSE 'table' END
         AS kind,
       coalesce(am.amname, 'heap') AS access_method,
       coalesce(pg_catalog.pg_table_size(c.oid), 0) AS bytes,
       coalesce(pg_catalog.pg_relation_size(c.oid), 0) / current_setting('block_size')::int AS pages,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
             AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
             AND NOT a.attisdropped AND a.attgenerated = 's' ORDER BY a.attnum) AS generated,
       coalesce(e.extcondition[array_position(e.extconfig, c.oid)], '') AS condition,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid ORDER BY k.place) AS key,
       ARRAY(SELECT f.confrelid::bigint FROM pg_catalog.pg_constraint f
             WHERE e.oid IS NOT NULL AND f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid <> c.oid) AS needs,
       CASE WHEN c.relispartition THEN
         (SELECT ARRAY[rn.nspname::text, r.relname::text]
          FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
          WHERE r.oid = pg_catalog.pg_partition_root(c.oid) AND EXISTS (
            SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) up
            JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = up.relid
            JOIN pg_catalog.pg_opclass o ON o.oid = ANY (p.partclass)
            LEFT JOIN pg_catalog.pg_collation l ON l.oid = ANY (p.partcollation) AND NOT l.collisdeterministic
            WHERE p.partstrat = 'h' AND (l.oid IS NOT NULL OR o.opcnamespace <> 'pg_catalog'::regnamespace
              OR o.opcname IN ('enum_ops', 'array_ops', 'record_ops', 'range_ops', 'multirange_ops', 'oid_ops'))))
       END AS root,
       (SELECT a.atttypid::regtype::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a
         ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = c.oid AND i.indisprimary) AS key_type,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
         AND pg_catalog.has_table_privilege(c.oid, 'SELECT'), true) AS readable,
       c.relrowsecurity AND pg_catalog.row_security_active(c.oid) AS hides_rows
{_DUMPED} AND c.relkind = 'r' ORDER BY n.nspname, c.relname
"""

_SEQUENCES = f"""
SELECT n.nspname AS namespace, c.relname AS name,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
         AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT'), true) AS readable
{_DUMPED} AND c.relkind = 'S' ORDER BY n.nspname, c.relname
"""

_SERVER: LiteralString = """
SELECT current_setting('server_version_num')::int AS version_number,
       current_setting('server_version') AS version,
       current_setting('server_encoding') AS encoding,
       pg_catalog.pg_is_in_recovery() AS standby,
       (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_lsn() END)::text AS lsn,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser,
       pg_catalog.current_setting('lo_compat_privileges')::bool AS reads_all_large_objects,
       (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS large_objects,
       (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
       ARRAY(SELECT name FROM pg_catalog.pg_settings
             WHERE name IN ('zero_damaged_pages', 'ignore_checksum_failure') AND setting = 'on') AS hides_damage,
       ARRAY(SELECT ARRAY[n.nspname::text, c.relname::text] FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relpersistence = 'u' AND c.relkind IN ('r', 'S') AND pg_catalog.pg_is_in_recovery()
             ORDER BY 1) AS unlogged
"""

# to_jsonb: what the columns are called differs between the versions (daticulocale, datlocale, datcollversion ...)
_DATABASE: LiteralString = """
SELECT to_jsonb(d) - 'datacl' - 'datfrozenxid' - 'datminmxid' || jsonb_build_object(
         'owner', pg_catalog.pg_get_userbyid(d.datdba), 'encoding', pg_catalog.pg_encoding_to_char(d.encoding),
         'comment', pg_catalog.shobj_description(d.oid, 'pg_database'), 'acl', d.datacl::text[],
         'settings', (SELECT coalesce(jsonb_agg(jsonb_build_object('role', r.rolname, 'settings', s.setconfig)), '[]')
                      FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
                      WHERE s.setdatabase = d.oid)) AS properties
FROM pg_catalog.pg_database d WHERE d.datname = current_database()
"""

# plpgsql is in every new database
_EXTENSIONS: LiteralString = """
SELECT extname::text AS name, extversion AS version, nspname::text AS schema
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE extname <> 'plpgsql' ORDER BY extname
"""

# Whoever was there when the server was made (oid 10) owns without a trace in pg_shdepend.
_ROLES: LiteralString = """
SELECT ARRAY(SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_roles r
             ON r.oid = ANY (p.polroles) ORDER BY 1) AS policies,
       ARRAY(SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.oid IN (
               SELECT refobjid FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d ON d.oid = s.dbid
               WHERE d.datname = current_database() AND refclassid = 'pg_catalog.pg_authid'::regclass
                 AND deptype IN ('o', 'a')
               UNION SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid >= 16384 AND NOT EXISTS (
                 SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::regclass
                   AND x.objid = c.oid AND x.deptype IN ('e', 'i')))
             ORDER BY 1) AS owners
"""

_UNREADABLE_LARGE_OBJECTS: LiteralString = """
SELECT oid::bigint FROM pg_catalog.pg_largeobject_metadata m
WHERE NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
                  AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE'))) LIMIT 1000
"""


@dataclass(frozen=True)
class Table:
    """A table that holds rows. `bytes`: main fork, TOAST and free space map, without indexes."""

    oid: int
    namespace: str
    name: str
    kind: Literal["table", "unlogged", "extension"]
    access_method: str
    bytes: int
    pages: int
    columns: list[str]
    generated: list[str]
    """Columns whose values the server computes and stores; those of `virtual` ones are stored nowhere."""
    condition: str
    key: list[str]
    needs: list[int]
    """What must be loaded before: the foreign keys of an extension's tables exist as soon as it is created."""
    root: list[str] | None
    """Namespace and name of the partitioned table to load through, see `TableRecord.root`."""
    key_type: str | None
    readable: bool
    hides_rows: bool

    @property
    def label(self) -> str:
        """Name for people, `schema.table`."""
        return f"{self.namespace}.{self.name}"

    @property
    def target(self) -> tuple[str, str]:
        """Namespace and name to load into, see `TableRecord.target`."""
        return (self.root[0], self.root[1]) if self.root else (self.namespace, self.name)


@dataclass(frozen=True)
class Sequence:
    """A sequence whose value is backed up."""

    namespace: str
    name: str
    readable: bool

    @property
    def label(self) -> str:
        """Name for people, `schema.sequence`."""
        return f"{self.namespace}.{self.name}"


@dataclass(frozen=True)
class ServerFacts:
    """Version, state and rights, as the snapshot shows them."""

    version_number: int
    version: str
    encoding: str
    standby: bool
    lsn: str
    superuser: bool
    reads_all_large_objects: bool
    large_objects: int
    system_identifier: str
    hides_damage: list[str]
    """Settings that let reads go on over damaged pages, as if their rows had never been."""
    unlogged: list[list[str]]
    """Namespace and name of tables and sequences of which a standby has the definitions alone."""

    @property
    def major(self) -> int:
        """Major version."""
        return self.version_number // 10_000


def read_tables(connection: Connection[TupleRow]) -> list[Table]:
    """List the tables in an order in which they can be loaded."""
    with connection.cursor(row_factory=class_row(Table)) as cursor:
        tables = {table.oid: table for table in cursor.execute(_TABLES)}
    graph = {table.oid: [oid for oid in table.needs if oid in tables] for table in tables.values()}
    try:
        return [tables[oid] for oid in TopologicalSorter(graph).static_order()]
    except CycleError:
        return list(tables.values())  # there is no such order; pg_dump finds none either


def read_live_tables(connection: Connection[TupleRow], label: str) -> list[Table]:
    """List the tables of a database in use. Raises SourceError, such as when another session locks one."""
    try:
        return read_tables(connection)
    except psycopg.Error as error:
        raise SourceError(
            f"The tables of {label} cannot be listed: {' '.join(str(error).split())}",
            "If it was a timeout, another session keeps a table locked: see which (SELECT relation::regclass, pid FROM "
            "pg_locks WHERE mode = 'AccessExclusiveLock'), and wait for it, or end it.",
        ) from error


def read_sequences(connection: Connection[TupleRow]) -> list[Sequence]:
    """List the sequences."""
    with connection.cursor(row_factory=class_row(Sequence)) as cursor:
        return cursor.execute(_SEQUENCES).fetchall()


def read_server(connection: Connection[TupleRow]) -> ServerFacts:
    """Read the facts about the server."""
    return ServerFacts(**read_row(connection, _SERVER))


def read_database_properties(connection: Connection[TupleRow]) -> dict[str, Any]:
    """Encoding, locale, owner, limits, grants and settings of the database, with pg_database's column names."""
    properties: dict[str, Any] = read_row(connection, _DATABASE)["properties"]
    return properties


def read_extensions(connection: Connection[TupleRow]) -> list[Extension]:
    """List name, version and schema of each, but for plpgsql."""
    with connection.cursor(row_factory=class_row(Extension)) as cursor:
        return cursor.execute(_EXTENSIONS).fetchall()


def read_roles(connection: Connection[TupleRow]) -> Roles:
    """List roles that a restore needs."""
    return Roles(**read_row(connection, _ROLES))


def read_row(connection: Connection[TupleRow], query: str) -> dict[str, Any]:
    """Read the one row of a query, by column."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query.encode()).fetchone()
    assert row is not None
    return row


def require_readable(connection: Connection[TupleRow], items: Iterable[Table | Sequence]) -> None:
    """Raise SourceError unless this role sees every row of everything that will be copied."""
    items = list(items)
    role = connection.info.user
    if denied := [item.label for item in items if not item.readable]:
        raise SourceError(
            f"The role {role} may not read {_some(denied, 'table or sequence', 'tables or sequences')}.",
            f"As a superuser: GRANT pg_read_all_data TO {quoted(role)};",
        )
    if hidden := [item.label for item in items if isinstance(item, Table) and item.hides_rows]:
        raise SourceError(
            f"Row-level security would hide rows from the role {role} in {_some(hidden, 'table', 'tables')}.",
            f"As a superuser: ALTER ROLE {quoted(role)} BYPASSRLS;",
        )


def require_readable_large_objects(connection: Connection[TupleRow], facts: ServerFacts) -> None:
    """Raise SourceError unless this role may read all large objects; pg_read_all_data does not cover them."""
    if not facts.large_objects or facts.superuser or facts.reads_all_large_objects:
        return
    if oids := [str(oid) for (oid,) in connection.execute(_UNREADABLE_LARGE_OBJECTS).fetchall()]:
        role = connection.info.user
        raise SourceError(
            f"The role {role} may not read {_some(oids, 'large object', 'large objects')}.",
            f"As a superuser: ALTER ROLE {quoted(role)} SET lo_compat_privileges = on; (this covers future ones), or "
            f"GRANT SELECT ON LARGE OBJECT ... TO {quoted(role)};",
        )


def require_damage_to_show(facts: ServerFacts, label: str) -> None:
    """Raise SourceError when rows on damaged pages would be left out without an error."""
    if facts.hides_damage:
        raise SourceError(
            f"{' and '.join(facts.hides_damage)} is on for {label}: reads go on over damaged pages, and rows would be "
            "missing without an error.",
            f"Find who switched it on, and why (SELECT name, source, sourcefile FROM pg_settings WHERE name = "
            f"'{facts.hides_damage[0]}'), switch it off, and run this again. If the database is damaged, "
            "recover_corrupted_database brings back a backup from before that.",
        )


def quoted(*names: str) -> str:
    """Write a name as an SQL identifier, always in double quotes.

    Like `literal`, without libpq, which would look at the encoding of whatever connection was opened last.
    """
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """Write a text as an SQL literal, whatever standard_conforming_strings is."""
    doubled = text.replace("'", "''")
    return " E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"


def _some(names: list[str], one: str, many: str) -> str:
    return f"the {one} {names[0]}" if len(names) == 1 else f"{len(names)} {many}: {some_of(names)}"


def some_of(names: list[str] | tuple[str, ...]) -> str:
    """Join the first names, and say how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
