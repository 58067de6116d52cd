"""Encodings in which databases are read and written, by our connections and by the client programs.

Names and data travel in the database's own encoding, as with pg_dump. Two have no codec in Python, and go another way:
what is `EUC_TW` is converted by the server; names of `SQL_ASCII`, which is no encoding, are read as UTF-8, or as LATIN1
when one of them is not UTF-8: LATIN1 has a character for every byte, so that nothing is lost.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
from psycopg import Connection, pq
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import TupleRow

from backup_playbook.core.errors import SourceError

NO_ENCODING = "SQL_ASCII"
_NOT_IN_PYTHON = frozenset(("EUC_TW", "MULE_INTERNAL"))
# of all that a backup or a recovery reads: names, labels, settings, and comments of databases
_NAMES = """
SELECT pg_catalog.sum(pg_catalog.length(pg_catalog.convert_to(name, 'SQL_ASCII'), 'UTF8')) FROM (
  SELECT relname::text AS name FROM pg_catalog.pg_class
  UNION ALL SELECT attname::text FROM pg_catalog.pg_attribute
  UNION ALL SELECT nspname::text FROM pg_catalog.pg_namespace
  UNION ALL SELECT typname::text FROM pg_catalog.pg_type
  UNION ALL SELECT proname::text FROM pg_catalog.pg_proc
  UNION ALL SELECT conname::text FROM pg_catalog.pg_constraint
  UNION ALL SELECT enumlabel::text FROM pg_catalog.pg_enum
  UNION ALL SELECT rolname::text FROM pg_catalog.pg_roles
  UNION ALL SELECT datname::text FROM pg_catalog.pg_database
  UNION ALL SELECT description FROM pg_catalog.pg_shdescription
  UNION ALL SELECT setconfig::text FROM pg_catalog.pg_db_role_setting) AS names
"""


def settle(connection: Connection[TupleRow], label: str, wanted: str | None = None) -> None:
    """Give a new connection the encoding of its database, or the `wanted` one. Raises SourceError."""
    of_server = _parameter(connection, b"server_encoding")
    encoding = wanted or ("UTF8" if of_server == NO_ENCODING else of_streams(of_server))
    if encoding != _parameter(connection, b"client_encoding"):
        _set(connection, label, encoding)
    if of_server == NO_ENCODING and not wanted and not _is_utf8(connection):
        _set(connection, label, "LATIN1")
    for name in ("json", "jsonb"):
        connection.adapters.register_loader(name, _Json)


def of_streams(server_encoding: str) -> str:
    """Encoding of COPY text, and of what the client programs write."""
    return "UTF8" if server_encoding in _NOT_IN_PYTHON else server_encoding


def _parameter(connection: Connection[TupleRow], name: bytes) -> str:
    # not connection.info: psycopg does nothing at all in an encoding that it does not know
    return (connection.pgconn.parameter_status(name) or b"UTF8").decode()


def _set(connection: Connection[TupleRow], label: str, encoding: str) -> None:
    result = connection.pgconn.exec_(f"SET client_encoding = '{encoding}'".encode())
    if result.status != pq.ExecStatus.COMMAND_OK:
        said = " ".join(result.error_message.decode(errors="replace").split())
        raise SourceError(
            f"{label} is in the encoding {_parameter(connection, b'server_encoding')}, which cannot be read as "
            f"{encoding}: {said}",
            "Back it up with its own pg_dump; or move it into a database of encoding UTF8.",
        )


def _is_utf8(connection: Connection[TupleRow]) -> bool:
    try:
        with connection.transaction():
            connection.execute(b"SET LOCAL search_path = pg_catalog")
            connection.execute(_NAMES.encode())
    except psycopg.errors.CharacterNotInRepertoire:
        return False
    return True


class _Json(Loader):
    """Loader that follows the connection's encoding; psycopg's own takes all for UTF-8."""

    def load(self, data: Buffer) -> Any:
        assert self.connection
        return json.loads(bytes(data).decode(self.connection.info.encoding))
