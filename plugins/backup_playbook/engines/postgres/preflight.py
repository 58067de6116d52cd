"""Checks of a server before anything of a backup is written to it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.postgres.clients import Clients, find_clients
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.excluded import PG_CRON

# pg_restore of 17 and newer sets transaction_timeout, which older servers do not know
_FIRST_WITH_TRANSACTION_TIMEOUT = 17

_USER_OBJECTS = """
SELECT count(*) FROM (
  SELECT relnamespace AS namespace, oid FROM pg_catalog.pg_class
  UNION ALL SELECT pronamespace, oid FROM pg_catalog.pg_proc
  UNION ALL SELECT typnamespace, oid FROM pg_catalog.pg_type
) AS o JOIN pg_catalog.pg_namespace n ON n.oid = o.namespace
WHERE o.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""

# by their bytes: the server keeps a name as it is in the database where the role was made
_MISSING_ROLES = """
SELECT place FROM unnest(%s::bytea[]) WITH ORDINALITY AS wanted (name, place) WHERE NOT EXISTS (
  SELECT FROM pg_catalog.pg_roles WHERE pg_catalog.namesend(rolname) = pg_catalog.convert(name, %s, %s)) ORDER BY place
"""

_LOCKS = """
SELECT s, s * (pg_catalog.current_setting('max_connections')::int
               + pg_catalog.current_setting('max_prepared_transactions')::int)
FROM (SELECT pg_catalog.current_setting('max_locks_per_transaction')::int AS s) AS setting
"""
SPARE_LOCKS = 2000
"""Locks besides, in shared memory that nobody else needs."""


def clients_for(manifest: Manifest, server_major: int) -> Clients:
    """Find client programs that read the archives and speak to the server. Raises SourceError, RestoreError."""
    archived_by = int(str(manifest.tools["postgres_clients"]).split(".")[0])
    clients = find_clients(max(server_major, archived_by))
    if clients.major >= _FIRST_WITH_TRANSACTION_TIMEOUT > server_major:
        raise RestoreError(
            f"pg_restore {clients.version} cannot restore into Postgres {server_major}: it sets transaction_timeout, "
            f"which servers before {_FIRST_WITH_TRANSACTION_TIMEOUT} do not know.",
            f"Install postgresql-client-{server_major} on the workers that back up and restore this source, or restore "
            "into a newer server.",
        )
    return clients


def require_fitting(connection: Connection[TupleRow], manifest: Manifest, label: str, *, owners: bool) -> None:
    """Raise RestoreError that names everything that the server lacks, at once."""
    major = connection.info.server_version // 10_000
    problems = [
        *_version(major, manifest),
        *_extensions(connection, manifest),
        *_roles(connection, manifest, owners),
        *_locks(connection, len(manifest.tables)),
    ]
    if problems:
        raise RestoreError(
            f"{label} cannot take the backup {manifest.backup_id} of {manifest.source}: {' '.join(problems)}",
            "Nothing was written. Give the target server what is missing, or name another in targets.yaml.",
        )
    clients_for(manifest, major)


def require_empty(connection: Connection[TupleRow], label: str) -> None:
    """Raise RestoreError unless the database is like a new one."""
    if count := user_objects(connection):
        raise RestoreError(
            f"{label} is not empty: it has {count} relations, functions and types. A restore writes into empty "
            "databases only.",
            "Nothing was written. Start again with a new scratch: clear the task that creates it.",
        )


def user_objects(connection: Connection[TupleRow]) -> int:
    """Count the relations, functions and types that a new database does not have."""
    ((count,),) = connection.execute(_USER_OBJECTS).fetchall()
    return int(count)


def _version(major: int, manifest: Manifest) -> Iterator[str]:
    needed = PostgresDetails.of(manifest).major
    if major < needed:
        yield f"It is Postgres {major}, older than the backup's {needed}."


def _extensions(connection: Connection[TupleRow], manifest: Manifest) -> Iterator[str]:
    wanted = [item for item in PostgresDetails.of(manifest).extensions if item.name != PG_CRON]
    query = """
        SELECT a.name::text, a.default_version, bool_or(v.version = a.default_version AND (NOT v.superuser OR v.trusted
                 OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)))
        FROM pg_catalog.pg_available_extensions a JOIN pg_catalog.pg_available_extension_versions v USING (name)
        WHERE a.name = ANY (%s) GROUP BY 1, 2"""
    rows = connection.execute(query, [[item.name for item in wanted]]).fetchall()
    available = {name: (version, creatable) for name, version, creatable in rows}
    for item in wanted:
        name, version = item.name, item.version
        if name not in available:
            yield f"The extension {name} {version} is not installed there."
            continue
        has, creatable = available[name]
        if _older(has, version):
            yield f"The extension {name} is {has} there, older than the backup's {version}."
        if not creatable:
            yield f"Only a superuser may create the extension {name}."


def _locks(connection: Connection[TupleRow], tables: int) -> Iterator[str]:
    ((per_session, capacity),) = connection.execute(_LOCKS).fetchall()
    if tables > capacity * 1.1 + SPARE_LOCKS:
        needed = -(-tables * per_session // capacity) + 1
        yield (
            f"It has room for about {capacity} locks, and a proof locks all {tables} tables at once: "
            f"max_locks_per_transaction = {needed} is needed (and a restart)."
        )


def _older(has: str, needed: str) -> bool:
    """Whether a version is older, by its numbers: 1.10 is newer than 1.9."""
    pairs = zip_longest(has.split("."), needed.split("."), fillvalue="0")
    for one, other in pairs:
        if one != other:
            return one.isdigit() and other.isdigit() and int(one) < int(other)
    return False


def _roles(connection: Connection[TupleRow], manifest: Manifest, owners: bool) -> Iterator[str]:
    details = PostgresDetails.of(manifest)
    roles = details.roles
    settings = {entry["role"] for entry in details.settings} - {None}
    wanted = {*roles.policies, *((*roles.owners, *settings) if owners else ())}
    names = sorted(wanted)
    as_bytes = [name.encode(details.python_codec) for name in names]
    encodings = details.client_encoding, details.database["encoding"]
    for (place,) in connection.execute(_MISSING_ROLES, [as_bytes, *encodings]).fetchall():
        role = names[place - 1]
        use = "policies name it" if role in roles.policies else "it owns, may use, or has settings of something"
        yield f"The role {role} does not exist there ({use})."
