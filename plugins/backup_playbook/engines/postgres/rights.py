"""Definitions that not every role may create: found beforehand, or left out where no copy goes live."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.errors import RestoreError
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.table_of_contents import Entry

_FORCED = re.compile(rb"^ALTER TABLE ONLY .* FORCE ROW LEVEL SECURITY;$", re.MULTILINE)
_PASSED_ON = re.compile(rb"^SET SESSION AUTHORIZATION (.*);$", re.MULTILINE)
_OF_ALL_TABLES = re.compile(rb"CREATE PUBLICATION .* FOR ALL (TABLES|SEQUENCES)", re.DOTALL)
_UNFORCED = """
SELECT pg_catalog.format('ALTER TABLE %I.%I NO FORCE ROW LEVEL SECURITY', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relforcerowsecurity
"""


@dataclass(frozen=True)
class Rights:
    """Rights of a role. sees_all_rows: whatever the policies of its own tables say."""

    superuser: bool = True
    sees_all_rows: bool = True


ALL_RIGHTS = Rights()


def rights_of(connection: Connection[TupleRow]) -> Rights:
    """Read the rights of the connection's role."""
    query = "SELECT rolsuper, rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ((superuser, sees_all_rows),) = connection.execute(query).fetchall()
    return Rights(superuser, sees_all_rows)


def of_superusers(entries: Sequence[Entry]) -> list[Entry]:
    """Select the definitions that only a superuser may create."""
    return [one for one in entries
            if one.kind in (b"EVENT TRIGGER", b"PUBLICATION TABLES IN SCHEMA")
            or (one.kind == b"PUBLICATION" and _OF_ALL_TABLES.match(one.definition))]  # fmt: skip


def forced(entries: Sequence[Entry]) -> list[Entry]:
    """Select tables whose own owner does not see all rows, so that their copy could not be read back."""
    return [one for one in entries if one.kind == b"TABLE" and _FORCED.search(one.definition)]


def unforce(connection: Connection[TupleRow]) -> None:
    """Let owners see all rows of their tables."""
    for (statement,) in connection.execute(_UNFORCED).fetchall():
        connection.execute(statement.encode(connection.info.encoding))


def require_rights(connection: Connection[TupleRow], entries: Sequence[Entry], codec: str, label: str) -> None:
    """Raise RestoreError that names all that the role lacks for these definitions with their owners and grants."""
    if problems := [*missing_rights(connection, entries, codec)]:
        raise RestoreError(
            f"{label} cannot be given these definitions: {' '.join(problem for problem, _ in problems)}",
            f"Nothing was written. {' '.join(remedy for _, remedy in problems)} {OR_A_SUPERUSER}",
        )


OR_A_SUPERUSER = "Or let a superuser do it."


def missing_rights(connection: Connection[TupleRow], entries: Sequence[Entry], codec: str) -> Iterator[tuple[str, str]]:
    """List the rights that the role lacks, with what gives them. entries: with owners and grants."""
    rights, role = rights_of(connection), quoted(connection.info.user)
    wanted = {one.tablespace.decode(codec, "replace") for one in entries if one.tablespace}
    rows = connection.execute("SELECT spcname::text FROM pg_catalog.pg_tablespace").fetchall()
    for name in sorted(wanted - {name for (name,) in rows}):
        yield f"The tablespace {name} does not exist there.", f"CREATE TABLESPACE {quoted(name)} LOCATION '...';"
    if rights.superuser:
        return
    # that of schema public is whoever owns the database; predefined roles own nothing else
    owners = {one.owner.decode(codec, "replace") for one in entries if one.owner and not one.owner.startswith(b"pg_")}
    for name in _not_member_of(connection, sorted(owners)):
        yield f"{role} may not act as {name}, who owns some of it.", f"GRANT {quoted(name)} TO {role};"
    grantors = {match for one in entries if one.kind == b"ACL" for match in _PASSED_ON.findall(one.definition)}
    if grantors:
        names = ", ".join(sorted(name.decode(codec, "replace").strip("'\"") for name in grantors))
        yield (
            f"Grants were passed on by {names}, whom only a superuser can have give them again.",
            "At the source, let the owners give these grants, and back it up again.",
        )
    if above := of_superusers(entries):
        names = ", ".join(one.label(codec) for one in above)
        yield f"Only a superuser may create {names}.", f"Start again with these lines in `leave_out`: {names}."
    if not rights.sees_all_rows and (hidden := forced(entries)):
        names = ", ".join(one.label(codec).removeprefix("TABLE ").replace(" ", ".", 1) for one in hidden)
        yield f"FORCE ROW LEVEL SECURITY hides rows of {names} from their owner.", f"ALTER ROLE {role} BYPASSRLS;"


def _not_member_of(connection: Connection[TupleRow], names: Sequence[str]) -> list[str]:
    kinds = ("USAGE", "SET") if connection.info.server_version >= 160_000 else ("USAGE", "MEMBER")
    query = (
        "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY (%s::name[]) AND NOT "
        "(pg_catalog.pg_has_role(oid, %s) AND pg_catalog.pg_has_role(oid, %s)) ORDER BY 1"
    )
    return [name for (name,) in connection.execute(query, [list(names), *kinds]).fetchall()]
