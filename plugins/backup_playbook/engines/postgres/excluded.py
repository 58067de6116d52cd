"""Parts of a database that a backup does not hold, a copy does not get, or a copy computes anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.model import Manifest
from backup_playbook.core.words import counted
from backup_playbook.engines.postgres.details import Excluded, PostgresDetails
from backup_playbook.engines.postgres.inventory import quoted, read_row, some_of

PG_CRON = "pg_cron"
PG_CRON_SCHEMA = "cron"

_COUNTS: LiteralString = """
SELECT (SELECT count(*) FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database()) AS subscriptions,
       (SELECT count(*) FROM pg_catalog.pg_user_mappings) AS user_mappings,
       (SELECT count(*) FROM pg_catalog.pg_class WHERE relkind = 'm' AND relispopulated) AS materialised_views
"""
# pg_dump leaves them out: what CREATE EXTENSION writes into them comes back with it, and nothing else does
_EXTENSION_TABLES: LiteralString = """
SELECT n.nspname::text, c.relname::text, coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  AND NOT (c.relrowsecurity AND pg_catalog.row_security_active(c.oid)), false)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_depend d
  ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND e.extname <> %s
  AND NOT c.oid = ANY (coalesce(e.extconfig, '{}')) AND pg_catalog.pg_relation_size(c.oid) > 0
ORDER BY 1, 2
"""


def read_excluded(connection: Connection[TupleRow]) -> Excluded:
    """Read the counts, and the names of tables of extensions that have rows and are in no backup."""
    rows = connection.execute(_EXTENSION_TABLES, [PG_CRON]).fetchall()
    tables = [f"{namespace}.{name}" for namespace, name, readable in rows
              if not readable or _has_rows(connection, namespace, name)]  # fmt: skip
    return Excluded(**read_row(connection, _COUNTS), extension_tables=tuple(tables))


def _has_rows(connection: Connection[TupleRow], *name: str) -> bool:
    query = f"SELECT EXISTS (SELECT FROM ONLY {quoted(*name)})"
    return connection.execute(query.encode(connection.info.encoding)).fetchall() == [(True,)]


def has_cron(manifest: Manifest) -> bool:
    """Whether the database has pg_cron, which no copy gets."""
    return any(item.name == PG_CRON for item in PostgresDetails.of(manifest).extensions)


def left_out(manifest: Manifest) -> Iterator[str]:
    """List in words what no restored copy of this backup gets."""
    details = PostgresDetails.of(manifest)
    excluded = details.excluded
    if excluded is None:
        yield from ("subscriptions", "user mappings of foreign servers")
    else:
        if excluded.subscriptions:
            yield counted(excluded.subscriptions, "subscription")
        if excluded.user_mappings:
            yield f"{counted(excluded.user_mappings, 'user mapping')} of foreign servers"
        if tables := excluded.extension_tables:
            yield (
                f"the rows of {some_of(tables)} (tables of extensions, which these do not register for backups: a copy "
                "has what CREATE EXTENSION writes into them)"
            )
    if has_cron(manifest):
        yield "pg_cron and its jobs"
    if unlogged := details.unlogged:
        names = [".".join(name) for name in unlogged]
        yield f"the contents of {some_of(names)} (unlogged: the standby that was read has none)"
    if unwanted := details.without_rows:
        yield f"the rows of {some_of(['.'.join(name) for name in unwanted])} (`without_rows` of the source)"


def recomputed(views: int, generated: int = 0, anew: Iterable[str] = ()) -> tuple[str, ...]:
    """List in words what a copy computes anew.

    generated: number of columns whose values the backup has no digest of. anew: lines of `leave_out` for some.
    """
    found = [f"the rows of {counted(views, 'materialised view')}"] if views else []
    if generated:
        columns = counted(generated, "stored generated column")
        found.append(f"the values of {columns} (this backup is from before their values were noted)")
    return (*found, *(f"{line} (as asked)" for line in sorted(anew)))


def recomputed_by(manifest: Manifest) -> tuple[str, ...]:
    """List what a copy will compute anew, as far as it is known without one."""
    excluded = PostgresDetails.of(manifest).excluded
    if excluded is None:
        return ("the rows of materialised views", "the values of stored generated columns")
    return recomputed(excluded.materialised_views)
