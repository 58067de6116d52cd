"""What belongs to the name of a database rather than to its contents: owner, grants, settings, limit, comment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from backup_playbook.engines.postgres.database_properties import setting_statements
from backup_playbook.engines.postgres.inventory import quoted

_PROPERTIES = """
SELECT pg_catalog.pg_get_userbyid(d.datdba)::text, d.datconnlimit, d.datacl IS NOT NULL,
  pg_catalog.shobj_description(d.oid, 'pg_database'),
  ARRAY(SELECT to_jsonb(a) || jsonb_build_object('role', r.rolname, 'by', pg_catalog.pg_get_userbyid(a.grantor),
          'may', pg_catalog.pg_has_role(a.grantor, 'MEMBER')) FROM pg_catalog.aclexplode(d.datacl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee),
  ARRAY(SELECT jsonb_build_object('role', r.rolname, 'settings', s.setconfig) FROM pg_catalog.pg_db_role_setting s
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid)
FROM pg_catalog.pg_database d WHERE d.datname = %s
"""


def hand_over(connection: Connection[TupleRow], live: str, candidate: str) -> None:
    """Give `candidate` what `live` has, but for its comment. Can be repeated."""
    with connection.transaction():
        for statement in _statements(connection, live, candidate):
            connection.execute(statement.encode(connection.info.encoding))


def comment_of(connection: Connection[TupleRow], database: str) -> str | None:
    comment: str | None = _read(connection, database)[3]
    return comment


def set_comment(connection: Connection[TupleRow], database: str, comment: str | None) -> None:
    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(comment)))


def _read(connection: Connection[TupleRow], database: str) -> Any:
    row = connection.execute(_PROPERTIES, [database]).fetchone()
    assert row is not None
    return row


def _statements(connection: Connection[TupleRow], live: str, candidate: str) -> Iterator[str]:
    owner, limit, has_acl, _, grants, settings = _read(connection, live)
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
    """Each after those that let its grantor give it."""
    left, able = grants, {owner}
    while left:
        ready = [grant for grant in left if grant["by"] in able] or left
        yield from ready
        able |= {grant["role"] for grant in ready}
        left = [grant for grant in left if grant not in ready]


def _defaults(owner: str) -> Iterator[dict[str, Any]]:
    """What holds while pg_database.datacl is null."""
    for role, privileges in (("", ("CONNECT", "TEMPORARY")), (owner, ("CREATE", "CONNECT", "TEMPORARY"))):
        for privilege in privileges:
            yield {"role": role, "privilege_type": privilege, "is_grantable": False, "by": owner}
