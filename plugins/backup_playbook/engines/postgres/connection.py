"""Addresses of Postgres databases: how our own connections and the client programs reach them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlencode

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from backup_playbook.core.errors import SourceError
from backup_playbook.core.guards import DatabaseIdentity
from backup_playbook.engines.postgres.encodings import settle

APPLICATION_NAME = "backup-playbook"
CONNECT_TIMEOUT_SECONDS = 15
_FIRST_WITH_LOGIN_TRIGGERS = 170_000

_KEEPALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "6"}
_ENVIRONMENT = {
    option.keyword.decode(): option.envvar.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar
}
# libpq's own variables too: our connections follow them, so the clients must
_INHERITED = ("PATH", "HOME", "LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "TMPDIR", *_ENVIRONMENT.values())


@dataclass(frozen=True)
class PostgresServer:
    """libpq's connection keywords (host, port, dbname, user, sslmode ...), with the password apart."""

    keywords: Mapping[str, str]
    password: str | None = field(default=None, repr=False)
    encoding: str | None = None
    """Client encoding of our connections; None: that of the database, see `encodings`."""

    @property
    def database(self) -> str:
        """Name of the database."""
        return self.keywords.get("dbname", "")

    @property
    def label(self) -> str:
        """Name for messages: `shop at db.example.com:5432 as backup`."""
        where = f"{self.keywords.get('host', 'localhost')}:{self.keywords.get('port', '5432')}"
        return f"{self.database} at {where} as {self.keywords.get('user', '(default user)')}"

    @property
    def url(self) -> str:
        """DATABASE_URL for an application; holds the password."""
        words = dict(self.keywords)
        user, password = quote(words.pop("user", ""), safe=""), quote(self.password or "", safe="")
        login = f"{user}:{password}@" if password else f"{user}@" * bool(user)
        return f"postgresql://{login}/{quote(words.pop('dbname', ''), safe='')}?{urlencode(words, quote_via=quote)}"

    def connect(self, *, autocommit: bool = False) -> Connection[TupleRow]:
        """Open a connection. Raises SourceError with what to do.

        With autocommit, search_path is pg_catalog: one that somebody set for the database would have us run functions
        and operators of theirs, as superuser even. A transaction sets its own (`session`), lest a pooler hand ours to
        the application.
        """
        defaults = {"connect_timeout": str(CONNECT_TIMEOUT_SECONDS), "application_name": APPLICATION_NAME}
        arguments: dict[str, str | None] = {**defaults, **_KEEPALIVE, **self.keywords, "password": self.password}
        try:
            connection = psycopg.connect("", autocommit=True, **arguments)  # type: ignore[arg-type]
            try:
                settle(connection, self.label, self.encoding)  # first: before it, psycopg may not know the encoding
                if autocommit:
                    connection.execute("SET search_path = pg_catalog")
                connection.autocommit = autocommit
            except BaseException:
                connection.close()
                raise
        except psycopg.Error as error:
            raise SourceError(
                f"Cannot connect to {self.label}: {str(error).strip()}", _connect_remedy(str(error))
            ) from None
        return connection

    def reached_by(self, connection: Connection[TupleRow]) -> PostgresServer:
        """Address of the very server behind `connection`: `host` may name several servers."""
        info = connection.info
        address = {"hostaddr": info.hostaddr} if info.hostaddr else {}
        return replace(self, keywords={**self.keywords, "host": info.host, "port": str(info.port), **address})

    def at(self, database: str) -> PostgresServer:
        """Another database of the same server."""
        return replace(self, keywords={**self.keywords, "dbname": database})

    def quiet(self) -> PostgresServer:
        """Address at which no event trigger fires, such as one of `login`; only where `may_be_quiet`."""
        options = f"{self.keywords.get('options', '')} -c event_triggers=off".strip()
        return replace(self, keywords={**self.keywords, "options": options})

    @property
    def client_database(self) -> str:
        """Value of `--dbname`: what libpq takes from no environment variable. Holds no secret."""
        return make_conninfo("", dbname=self.database, **_KEEPALIVE)

    def environment(self, **more: str) -> dict[str, str]:
        """Environment of psql, pg_dump ...: the connection in it shows in no process list."""
        found = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # we read what they say
        found["LC_MESSAGES"] = "C"
        if everything := os.environ.get("LC_ALL"):
            found["LC_CTYPE"] = everything
        found |= {"PGAPPNAME": APPLICATION_NAME, "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_SECONDS)}
        found |= {_ENVIRONMENT[word]: value for word, value in self.keywords.items() if word in _ENVIRONMENT}
        if self.password is not None:
            found["PGPASSWORD"] = self.password
        return {**found, **more}


def identity(connection: Connection[TupleRow], database: str | None = None) -> DatabaseIdentity | None:
    """Identity of the database behind `connection`, or of another one of its server; None: there is no such."""
    row = connection.execute(
        "SELECT (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()), oid::bigint, datname "
        "FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) coalesce(%s, pg_catalog.current_database())",
        [database],
    ).fetchone()
    return DatabaseIdentity(*row) if row else None


def may_be_quiet(connection: Connection[TupleRow]) -> bool:
    """Whether its role may switch event triggers off, see `PostgresServer.quiet`."""
    if connection.info.server_version < _FIRST_WITH_LOGIN_TRIGGERS:
        return False
    return connection.execute("SELECT pg_catalog.has_parameter_privilege('event_triggers', 'SET')").fetchall() == [
        (True,)
    ]


def require_no_pooler(connection: Connection[TupleRow], label: str, why: str) -> None:
    """Raise SourceError for a connection to a pooler. why: a sentence for people."""
    (pid,) = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone() or (0,)
    if pid != connection.info.backend_pid:
        raise SourceError(
            f"{label} is a connection pooler (such as pgbouncer), not the server itself. {why}",
            "Give this Airflow connection the host and port of the server itself.",
        )


def _connect_remedy(message: str) -> str:
    if "password authentication failed" in message or "no password supplied" in message:
        return "Correct login and password in the Airflow connection of this source."
    if "does not exist" in message:
        return "Correct the database or user name in the Airflow connection of this source."
    if "no pg_hba.conf entry" in message:
        return "Allow this worker's address, user and database in the server's pg_hba.conf, or set sslmode."
    if "unsupported startup parameter" in message:
        return "This is a connection pooler. Give this source's connection the address of the server itself."
    if "FATAL: " in message:  # the server has answered
        return (
            "Correct what the server says. If these are the words of a login trigger of the database: GRANT SET ON "
            "PARAMETER event_triggers TO the role of this connection, which then connects without it; or let the "
            "trigger leave this role out."
        )
    return "Check that the server is up and reachable from this worker at the address in the Airflow connection."
