"""Owner, grants, settings, limit and comment of a database: they belong to its name, not to its contents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from backup_playbook.engines.postgres.database_properties import setting_statements
from backup_playbook.engines.postgres.inventory import quoted

_PROPERTIES = """
SELECT pg_catalog.pg_get_userbyid(d.datdba)::text, d.datconnlimit, d.datacl IS NOT NULL,
  ARRAY(SELECT to_jsonb(a) || jsonb_build_object('role', r.rolname, 'by', pg_catalog.pg_get_userbyid(a.grantor),
          'may', pg_catalog.pg_has_role(a.grantor, 'MEMBER')) FROM pg_catalog.aclexplode(d.datacl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee),
  ARRAY(SELECT jsonb_build_object('role', r.rolname, 'settings', s.setconfig) FROM pg_catalog.pg_db_role_setting s
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid)
FROM pg_catalog.pg_database d WHERE d.datname = %s
"""
COMMENT = "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = %s"


def hand_over(connection: Connection[TupleRow], live: str, candidate: str) -> None:
    """Give `candidate` what `live` has, but for its comment. Can be repeated."""
    with connection.transaction():
        for statement in _statements(connection, live, candidate):
            connection.execute(statement.encode(connection.info.encoding))


def comment_of(connection: Connection[TupleRow], database: str) -> str | None:
    """Comment on a database; None when it has none, or is not there."""
    row = connection.execute(COMMENT, [database]).fetchone()
    return row[0] if row else None


def set_comment(connection: Connection[TupleRow], database: str, comment: str | None) -> None:
    """Write the comment on a database; None removes it."""
    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(comment)))


def rename_database(connection: Connection[TupleRow], old: str, new: str) -> None:
    """Rename a database that nobody is connected to."""
    connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


def allow_connections(connection: Connection[TupleRow], database: str, *, allow: bool) -> None:
    """Let a database accept new connections, or refuse them."""
    command = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    connection.execute(command.format(sql.Identifier(database), sql.Literal(allow)))


def _read(connection: Connection[TupleRow], database: str) -> Any:
    row = connection.execute(_PROPERTIES, [database]).fetchone()
    assert row is not None
    return row


def _statements(connection: Connection[TupleRow], live: str, candidate: str) -> Iterator[str]:
    owner, limit, has_acl, grants, settings = _read(connection, live)
    *_, own_grants, own_settings = _read(connection, candidate)
    name = quoted(candidate)
    yield f"ALTER DATABASE {name} OWNER TO {quoted(owner)}"
    yield f"ALTER DATABASE {name} CONNECTION LIMIT {limit}"
    if has_acl or own_grants:
        # a database without grants of its own lets everybody connect: that has to be taken away before it is given
        for grantee in {_role(grant) for grant in own_grants} | {"PUBLIC", quoted(owner)}:
            yield f"REVOKE ALL ON DATABASE {name} FROM {grantee} CASCADE"
        for grant in _passed_on(grants, owner) if has_acl else _defaults(owner):
            option = " WITH GRANT OPTION" if grant["is_grantable"] else ""
            command = f"GRANT {grant['privilege_type']} ON DATABASE {name} TO {_role(grant)}{option}"
            # whoever may not act as the role that passed it on gives it as the owner: it is the same right
            if grant["by"] != owner and grant["may"]:
                yield f"SET LOCAL ROLE {quoted(grant['by'])}; {command}; RESET ROLE"
            else:
                yield command
    for entry in own_settings:
        target = f"ROLE {quoted(entry['role'])} IN DATABASE" if entry["role"] else "DATABASE"
        yield f"ALTER {target} {name} RESET ALL"
    yield from setting_statements({"settings": settings}, name)


def _role(grant: dict[str, Any]) -> str:
    return quoted(grant["role"]) if grant["role"] else "PUBLIC"


def _passed_on(grants: list[dict[str, Any]], owner: str) -> Iterator[dict[str, Any]]:
    """Order the grants: each after those that let its grantor give it."""
    left, able = grants, {owner}
    while left:
        ready = [grant for grant in left if grant["by"] in able] or left
        yield from ready
        able |= {grant["role"] for grant in ready}
        left = [grant for grant in left if grant not in ready]


def _defaults(owner: str) -> Iterator[dict[str, Any]]:
    """Grants that hold while pg_database.datacl is null."""
    for role, privileges in (("", ("CONNECT", "TEMPORARY")), (owner, ("CREATE", "CONNECT", "TEMPORARY"))):
        for privilege in privileges:
            yield {"role": role, "privilege_type": privilege, "is_grantable": False, "by": owner}
