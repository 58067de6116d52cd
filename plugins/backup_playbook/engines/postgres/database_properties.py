"""Settings of a database, as SQL for a database of another name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from backup_playbook.engines.postgres.inventory import literal, quoted

THIS_DATABASE = ':"DBNAME"'
"""psql's variable for the database that it is connected to, as an identifier."""

# Postgres stores these as lists of quoted identifiers; as one literal they would become a single name.
_LISTS = frozenset((
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
))  # fmt: skip
_ELEMENT = re.compile(r'\s*,\s*(?:"((?:[^"]|"")*)"|([^,"]*?))\s*(?=,|\Z)')


def setting_statements(properties: Mapping[str, Any], database: str = THIS_DATABASE) -> Iterator[str]:
    """Write ALTER DATABASE / ALTER ROLE ... IN DATABASE for the settings; database: an SQL identifier."""
    for entry in properties.get("settings", ()):
        role = entry["role"]
        target = f"ROLE {quoted(role)} IN DATABASE {database}" if role else f"DATABASE {database}"
        for setting in entry["settings"]:
            name, _, value = setting.partition("=")
            values = _split(value) if name.lower() in _LISTS else [value]
            yield f"ALTER {target} SET {quoted(name)} TO {', '.join(map(literal, values))};"


def _split(value: str) -> list[str]:
    """Split a list whose elements may stand in double quotes, a quote inside of them doubled."""
    found = (match.groups() for match in _ELEMENT.finditer(f",{value}"))
    return [plain if quoted_name is None else quoted_name.replace('""', '"') for quoted_name, plain in found]
