"""Settings of a database, as SQL for a database of another name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import sql

from backup_playbook.engines.postgres.inventory import quoted

THIS_DATABASE = ':"DBNAME"'
"""psql's variable for the database that it is connected to, as an identifier."""

# Postgres stores these as lists of quoted identifiers; as one literal they would become a single name.
_LISTS = frozenset(
    (
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    )
)


def setting_statements(properties: Mapping[str, Any], database: str = THIS_DATABASE) -> Iterator[str]:
    """ALTER DATABASE / ALTER ROLE ... IN DATABASE for what pg_db_role_setting held; `database`: an SQL identifier."""
    for entry in properties.get("settings", ()):
        role = entry["role"]
        target = f"ROLE {quoted(role)} IN DATABASE {database}" if role else f"DATABASE {database}"
        for setting in entry["settings"]:
            name, _, value = setting.partition("=")
            values = _split(value) if name.lower() in _LISTS else [value]
            yield f"ALTER {target} SET {quoted(name)} TO {', '.join(map(_literal, values))};"


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


def _split(value: str) -> list[str]:
    """Elements of a comma-separated list whose elements may stand in double quotes."""
    found, element, inside = [], "", False
    for position, character in enumerate(value):
        if character == '"':
            # a doubled quote inside of quotes is one quote
            if not inside and position and value[position - 1] == '"' and element:
                element += '"'
            inside = not inside
        elif character == "," and not inside:
            found.append(element)
            element = ""
        elif inside or not character.isspace():
            element += character
    return [*found, element]
