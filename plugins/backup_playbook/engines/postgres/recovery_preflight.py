"""Checks of the role and the server before a restored copy replaces the live database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.model import Manifest
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.postgres.connection import PostgresServer, require_no_pooler
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.handover import hand_over
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.preflight import require_fitting
from backup_playbook.engines.postgres.rights import require_rights
from backup_playbook.engines.postgres.table_of_contents import Entry

MAINTENANCE_DATABASE = "postgres"
"""Database of the connection that renames others; every server has it, unless somebody dropped it."""

_ROLE = """
SELECT current_user::text, r.rolsuper, r.rolcreatedb, pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'),
  pg_catalog.pg_has_role(d.datdba, 'USAGE'), pg_catalog.pg_get_userbyid(d.datdba)::text
FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE r.rolname = current_user AND d.datname = %s
"""
_LIVE = """
SELECT oid::bigint, datallowconn, pg_catalog.pg_database_size(oid),
  ARRAY(SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = datname),
  ARRAY(SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = datname),
  ARRAY(SELECT subname::text FROM pg_catalog.pg_subscription WHERE subdbid = d.oid),
  (SELECT spcname::text FROM pg_catalog.pg_tablespace t WHERE t.oid = d.dattablespace), datconnlimit = -2,
  datistemplate
FROM pg_catalog.pg_database d WHERE datname = %s
"""


@dataclass(frozen=True)
class InspectedDatabase:
    """The live database before it is replaced. Sizes in bytes; free: None when it could not be found out."""

    oid: int
    accepts_connections: bool
    bytes: int
    free: int | None
    remarks: tuple[str, ...] = ()
    """Sentences on what the promotion does not carry over."""


def inspect_live(server: PostgresServer, live: str, content_bytes: int) -> InspectedDatabase:
    """Inspect the live database, and see that it can be replaced.

    server: as the role of `recovery.connection`, at MAINTENANCE_DATABASE. content_bytes: of the backup. Raises
    RestoreError that names every right that is missing, with its GRANT, and when the space is not enough.
    """
    with server.connect(autocommit=True) as connection, _one_encoding(connection, live):
        require_no_pooler(connection, server.label, "It would keep the live database's sessions alive, and end ours.")
        row = connection.execute(_LIVE, [live]).fetchone()
        if row is None:
            raise RestoreError(
                f"{server.label} has no database {live}.",
                "If an earlier promotion was undone manually, rename it back; if it was dropped, restore it under this "
                "name with restore_database and the target `new database`.",
            )
        oid, accepts, size, prepared, slots, subscriptions, tablespace, half_dropped, template = row
        if half_dropped:
            raise RestoreError(
                f"{live} is what an interrupted DROP DATABASE has left: nothing in it can be used any more.",
                f"Finish it (DROP DATABASE {quoted(live)};), and restore the backup under this name with "
                "restore_database and the target `new database`.",
            )
        problems = [*_missing_rights(connection, live), *_prepared(live, prepared)]
        problems = problems or [*_unsettable(connection, live)]
        if problems:
            raise RestoreError(
                f"{live} cannot be replaced as it is: {' '.join(problem for problem, _ in problems)}",
                f"Nothing was touched. {' '.join(remedy for _, remedy in problems)}",
            )
        # with indexes, a copy is about as large as what it is a copy of
        free = require_room(connection, max(size, content_bytes), f"The server of {live}")
        remarks = [*_remarks(slots, subscriptions, tablespace)]
        if template:
            remarks.append(f"The copy is no template, as {live} is: ALTER DATABASE {quoted(live)} IS_TEMPLATE true;")
        return InspectedDatabase(oid, accepts, size, free, tuple(remarks))


def require_restorable(server: PostgresServer, manifest: Manifest, definitions: Sequence[Entry]) -> None:
    """Raise RestoreError that names all that the server, or the role, lacks for the copy.

    server: as for `inspect_live`. definitions: as `Part.definitions` has them, with owners and grants.
    """
    with server.connect(autocommit=True) as connection:
        require_fitting(connection, manifest, server.label, owners=True)
        require_rights(connection, definitions, PostgresDetails.of(manifest).python_codec, server.label)


def _missing_rights(connection: Connection[TupleRow], live: str) -> Iterator[tuple[str, str]]:
    """List the rights that are missing, with the statements that give them."""
    ((role, superuser, creates, signals, owns, owner),) = connection.execute(_ROLE, [live]).fetchall()
    if superuser:
        return
    if not creates:
        yield f"{role} may not create and rename databases.", f"ALTER ROLE {quoted(role)} CREATEDB;"
    if not owns:
        yield f"{role} does not own {live}.", f"GRANT {quoted(owner)} TO {quoted(role)};"
    if not signals:
        yield f"{role} may not end other sessions.", f"GRANT pg_signal_backend TO {quoted(role)};"


def _unsettable(connection: Connection[TupleRow], live: str) -> Iterator[tuple[str, str]]:
    """Rehearse, and roll back, how a promotion gives the copy the grants and settings of the live database."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL lock_timeout = '10s'")
            hand_over(connection, live, live)
    except psycopg.errors.InsufficientPrivilege as error:
        remedy = (
            f"A parameter of superusers: GRANT SET ON PARAMETER ... TO {quoted(connection.info.user)}; (Postgres 15 or "
            "newer). Settings of a role in this database: CREATEROLE, and that role WITH ADMIN OPTION. Or name a "
            "superuser in `recovery.connection`."
        )
        yield _no_name(live, error), remedy
    except psycopg.Error as error:
        yield _no_name(live, error), "Correct what this names."


@contextmanager
def _one_encoding(connection: Connection[TupleRow], live: str) -> Iterator[None]:
    """Raise RestoreError for names of another encoding than the connection's: the server would not take them back."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise RestoreError(
            f"{live} cannot be replaced as it is: its owner, comment, grants or settings have {error.object!r}, which "
            f"is of another encoding than the database {connection.info.dbname}, from which it is done.",
            "Nothing was touched. Write them in ASCII (COMMENT ON DATABASE ...), or restore it under a new name with "
            "restore_database.",
        ) from error


def _no_name(live: str, error: psycopg.Error) -> str:
    return f"A copy could not be given what belongs to the name {live}: {' '.join(str(error).split())}."


def _prepared(live: str, transactions: list[str]) -> Iterator[tuple[str, str]]:
    if transactions:
        yield (
            f"{live} has prepared transactions ({', '.join(transactions[:5])}), with which no database can be renamed.",
            "COMMIT PREPARED or ROLLBACK PREPARED them.",
        )


def _remarks(slots: list[str], subscriptions: list[str], tablespace: str) -> Iterator[str]:
    if slots:
        yield (
            f"The logical replication slots {', '.join(slots)} stay with the quarantine; consumers need new ones. "
            "Until it is released, or they are dropped (pg_drop_replication_slot), the server keeps all WAL for them: "
            "watch its disk."
        )
    if subscriptions:
        yield (
            f"The subscriptions {', '.join(subscriptions)} stay with the quarantine: create them again. Their "
            "publishers keep all WAL for the old ones until these slots are dropped or used again."
        )
    if tablespace != "pg_default":
        yield f"The copy is in the tablespace pg_default, and not in {tablespace}."


def require_room(connection: Connection[TupleRow], needed: int, server: str) -> int | None:
    """Return the free bytes, if they can be found out. Raises RestoreError when a copy needs more.

    server: for messages.
    """
    free = _free_bytes(connection)
    if free is not None and free < needed:
        raise RestoreError(
            f"{server} has {human_bytes(free)} free, and the copy beside it needs about {human_bytes(needed)}.",
            "Nothing was touched. Release a quarantine (release_quarantine), drop a copy that nobody needs, or add "
            "disk space.",
        )
    return free


def _free_bytes(connection: Connection[TupleRow]) -> int | None:
    """Free space of the data directory. Postgres has no function for it: superusers may ask `df`."""
    try:
        with connection.transaction(force_rollback=True):
            row = connection.execute("SELECT pg_catalog.current_setting('data_directory')").fetchone()
            program = f"df -Pk -- '{row[0]}'" if row and "'" not in row[0] else "false"
            connection.execute("CREATE TEMPORARY TABLE backup_playbook_free (line text) ON COMMIT DROP")
            connection.execute(
                sql.SQL("COPY pg_temp.backup_playbook_free FROM PROGRAM {}").format(sql.Literal(program))
            )
            lines = connection.execute("SELECT line FROM pg_temp.backup_playbook_free").fetchall()
            return int(lines[-1][0].split()[3]) * 1024
    except (psycopg.Error, ValueError, IndexError):
        return None
