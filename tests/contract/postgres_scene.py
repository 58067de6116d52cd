"""A Postgres database for the tests of what engines do to production."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from backup_playbook.core.guards import DatabaseIdentity
from backup_playbook.engines.contract import Source
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.live import PostgresLive
from backup_playbook.engines.postgres.records import PostgresRecords
from backup_playbook.engines.postgres.scratch import ScratchServer, read_identity
from backup_playbook.engines.record_recovery import WantedRecords
from embedded.postgres import PostgresServer
from tests.contract.scenes import ORDERS
from tests.integration.postgres.lab import dump_text, server_of, source_of
from tests.integration.postgres.pair import PROPERTIES


class PostgresScene:
    """With owners and grants in it, and of its own."""

    engine = PostgresEngine()

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.name = f"live_{uuid.uuid4().hex[:8]}"
        self._origin, self._owner, self._reader = (f"{self.name}_{role}" for role in ("origin", "owner", "reader"))
        self.live = self._as_user(self.name)
        self.staging = ScratchServer(server_of(server.dsn()), self._production)
        self._do(f"CREATE ROLE {self._owner}", f"CREATE ROLE {self._reader}")
        self._do(f"CREATE DATABASE {self._origin}", *self._properties(self._origin))
        with server.connect(self._origin) as session:
            session.execute("CREATE TABLE orders (id int PRIMARY KEY, state text, mail text UNIQUE)")
            session.execute("CREATE TABLE empty (id int)")
            session.execute("CREATE VIEW paid AS SELECT * FROM orders WHERE state = 'paid'")
            session.execute(f"INSERT INTO orders SELECT i, 'paid', 'm' || i FROM generate_series(1, {ORDERS}) i")
            session.execute(f"ALTER TABLE orders OWNER TO {self._owner}; GRANT SELECT ON orders TO {self._reader}")
        self._known = self._databases()

    def of(self, source: str) -> PostgresLive:
        return self._as_user(source)

    def records(self, wanted: WantedRecords) -> PostgresRecords:
        return PostgresRecords(server_of(self._server.dsn(self.name)), wanted)

    def source(self) -> Source:
        return source_of(self._server.dsn(self._origin))

    def begin(self) -> None:
        self._do(f"CREATE DATABASE {self.name} TEMPLATE {self._origin}", *self._properties(self.name))

    def damage(self) -> None:
        with self._server.connect(self.name) as session:
            session.execute("DROP VIEW paid; DELETE FROM orders WHERE id < 3; UPDATE orders SET state = 'lost'")
            session.execute("CREATE TABLE since_then AS SELECT 1 AS id")

    def go_on(self) -> None:
        self.delete(ORDERS)
        self._do(f"COMMENT ON DATABASE {self.name} IS 'another'", f"ALTER DATABASE {self.name} SET work_mem = '9MB'")

    def counted(self, orders: int) -> dict[str, int]:
        return {"public.orders": orders, "public.empty": 0}

    def orders(self) -> dict[int, tuple[str, str]]:
        with self._server.connect(self.name) as session:
            return {number: (state, mail) for number, state, mail in session.execute("TABLE orders").fetchall()}

    def delete(self, *orders: int) -> None:
        with self._server.connect(self.name) as session:
            session.execute("DELETE FROM orders WHERE id = ANY (%s)", [list(orders)])

    def change(self, order: int) -> None:
        with self._server.connect(self.name) as session:
            session.execute("UPDATE orders SET state = 'changed' WHERE id = %s", [order])

    def insert(self, order: int, mail: str) -> None:
        with self._server.connect(self.name) as session:
            session.execute("INSERT INTO orders VALUES (%s, 'paid', %s)", [order, mail])

    def below(self, order: int) -> str:
        return f"id < {order}"

    def undo(self, content: bytes) -> None:
        argv: list[str | Path] = [self._server.bin_dir / "psql", "-X", "-q", "-d", self._server.dsn(self.name)]
        done = subprocess.run(argv, input=content, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr

    def contents(self) -> object:
        if self.is_closed(self.name):
            return None
        with self._server.connect() as session:
            properties = session.execute(PROPERTIES, [self.name]).fetchone()
        return dump_text(self._server, self.name), properties

    def rows(self, database: str = "") -> object:
        with self._server.connect(database or self.name) as session:
            tables = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            return {name: sorted(session.execute(f"TABLE {name}".encode()).fetchall()) for (name,) in tables}

    def rows_aside(self, quarantine: str) -> object:
        self._do(f"ALTER DATABASE {quarantine} ALLOW_CONNECTIONS true")
        found = self.rows(quarantine)
        self._do(f"ALTER DATABASE {quarantine} ALLOW_CONNECTIONS false")
        return found

    def is_closed(self, quarantine: str) -> bool:
        try:
            self._server.connect(quarantine).close()
        except psycopg.OperationalError as error:
            return "not currently accepting connections" in str(error)
        return False

    def leftovers(self) -> set[str]:
        return self._databases() - self._known - {self.name}

    def replace(self) -> None:
        self._do(f"DROP DATABASE {self.name}")
        self.begin()

    def without_rights(self) -> PostgresLive:
        self._do("DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN PASSWORD 'x'")
        return self._as_user(self.name, user="weak", password="x")

    @contextmanager
    def dying_half_way(self) -> Iterator[None]:
        """Before the first of the two renames, when the live database refuses connections."""

        class DiesError(BaseException):
            pass

        class Dying(Connection[Any]):
            def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
                if isinstance(query, sql.Composed) and "RENAME TO" in query.as_string(self):
                    self.close()
                    raise DiesError
                return super().execute(query, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(DiesError):
            patch.setattr(psycopg, "connect", Dying.connect)
            yield

    def end(self) -> None:
        for name in sorted({self.name, *self.leftovers()} & self._databases()):
            self._server.drop_database(name)

    def close(self) -> None:
        self._server.drop_database(self._origin)
        self._do(*(f"DROP ROLE IF EXISTS {role}" for role in (self._owner, self._reader, "weak")))

    def _as_user(self, source: str, **options: str) -> PostgresLive:
        server = server_of(self._server.dsn("postgres", **options))
        return PostgresLive(source, self.name, server, server.at(self.name), self._production)

    def _production(self) -> list[DatabaseIdentity]:
        return [read_identity(server_of(self._server.dsn(self.name)))]

    def _properties(self, database: str) -> Iterator[str]:
        yield f"ALTER DATABASE {database} OWNER TO {self._owner}"
        yield f"GRANT CREATE ON DATABASE {database} TO {self._reader}"
        yield f"ALTER DATABASE {database} SET work_mem = '7MB'"
        yield f"COMMENT ON DATABASE {database} IS 'the shop'"

    def _databases(self) -> set[str]:
        with self._server.connect() as session:
            return {name for (name,) in session.execute("SELECT datname FROM pg_database").fetchall()}

    def _do(self, *statements: str) -> None:
        with psycopg.connect(self._server.dsn(), autocommit=True) as session:
            for statement in statements:
                session.execute(statement.encode())
