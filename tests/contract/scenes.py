"""A production database of each engine for the tests of `live.py`: made, damaged, looked at, and interrupted."""

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg
import pytest
from psycopg import Connection, sql
from pymongo import MongoClient

from backup_playbook.core.errors import RestoreError
from backup_playbook.engines.contract import Engine, Source
from backup_playbook.engines.mongodb.collections import NEVER, SETS, TTL
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.postgres.engine import PostgresEngine
from embedded.mongo import MongoServer as EmbeddedMongo
from embedded.postgres import PostgresServer
from tests.conftest import MongoDatabase
from tests.contract.live import LiveDatabase, MongoLive, PostgresLive
from tests.integration.mongodb.lab import IMPATIENT, contents
from tests.integration.postgres.lab import dump_text, server_of, source_of
from tests.integration.postgres.pair import PROPERTIES
from tests.support.mongo_mask import ReplicaSet

ORDERS = 20
MUCH_LATER = datetime(2099, 1, 1, tzinfo=UTC)


class Scene(Protocol):
    """A live database with ORDERS orders, made anew by `begin`. live: as the user who may replace it."""

    engine: Engine
    name: str
    live: LiveDatabase

    def source(self) -> Source:
        """To take a backup of it from, as `begin` makes it."""
        ...

    def begin(self) -> None: ...

    def damage(self) -> None:
        """Lose two orders, change others, and make things that the backup does not have."""
        ...

    def counted(self, orders: int) -> dict[str, int]:
        """What `count` is to say: of an undamaged database that has so many orders."""
        ...

    def lose_an_order(self) -> None: ...

    def contents(self) -> object:
        """All that applications find under the live name, comparable; None when they are refused."""
        ...

    def rows(self, database: str = "") -> object:
        """Of the live database, or of another one."""
        ...

    def rows_aside(self, quarantine: str) -> object:
        """Of a quarantine, whatever it takes to look into it."""
        ...

    def is_closed(self, quarantine: str) -> bool:
        """Whether it stays as it is: nobody writes to it, and nothing expires."""
        ...

    def leftovers(self) -> set[str]:
        """All that there is beside the live database, and was not there at first."""
        ...

    def replace(self) -> None:
        """Somebody drops it, and makes another one of the same name."""
        ...

    def without_rights(self) -> LiveDatabase:
        """The same, as the user `weak`, who may read it."""
        ...

    def dying_half_way(self) -> contextlib.AbstractContextManager[None]:
        """The worker dies while it exchanges two."""
        ...

    def end(self) -> None:
        """Remove what `begin` and a test have made."""
        ...

    def close(self) -> None: ...


class PostgresScene:
    """With owners and grants in it, and of its own."""

    engine = PostgresEngine()

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.name = f"live_{uuid.uuid4().hex[:8]}"
        self._origin, self._owner, self._reader = (f"{self.name}_{role}" for role in ("origin", "owner", "reader"))
        self.live = self._as_user()
        self._do(f"CREATE ROLE {self._owner}", f"CREATE ROLE {self._reader}")
        self._do(f"CREATE DATABASE {self._origin}", *self._properties(self._origin))
        with server.connect(self._origin) as session:
            session.execute("CREATE TABLE orders (id int PRIMARY KEY, state text, mail text UNIQUE)")
            session.execute("CREATE TABLE empty (id int)")
            session.execute("CREATE VIEW paid AS SELECT * FROM orders WHERE state = 'paid'")
            session.execute(f"INSERT INTO orders SELECT i, 'paid', 'm' || i FROM generate_series(1, {ORDERS}) i")
            session.execute(f"ALTER TABLE orders OWNER TO {self._owner}; GRANT SELECT ON orders TO {self._reader}")
        self._known = self._databases()

    def source(self) -> Source:
        return source_of(self._server.dsn(self._origin))

    def begin(self) -> None:
        self._do(f"CREATE DATABASE {self.name} TEMPLATE {self._origin}", *self._properties(self.name))

    def damage(self) -> None:
        with self._server.connect(self.name) as session:
            session.execute("DROP VIEW paid; DELETE FROM orders WHERE id < 3; UPDATE orders SET state = 'lost'")
            session.execute("CREATE TABLE since_then AS SELECT 1 AS id")

    def counted(self, orders: int) -> dict[str, int]:
        return {"public.orders": orders, "public.empty": 0}

    def lose_an_order(self) -> None:
        with self._server.connect(self.name) as session:
            session.execute("DELETE FROM orders WHERE id = 1")

    def contents(self) -> object:
        if self.is_closed(self.name):
            return None
        with self._server.connect() as session:
            properties = session.execute(PROPERTIES, [self.name]).fetchone()
        return dump_text(self._server, self.name), properties

    def rows(self, database: str = "") -> object:
        return dump_text(self._server, database or self.name, "--data-only", "--no-owner")

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

    def without_rights(self) -> LiveDatabase:
        self._do("DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN PASSWORD 'x'")
        return self._as_user(user="weak", password="x")

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

    def _as_user(self, **options: str) -> PostgresLive:
        return PostgresLive(server_of(self._server.dsn("postgres", **options)), self.name, self.name)

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


class MongoScene:
    """With a view, an empty collection with options, and one whose documents expire; of a replica set."""

    engine = MongoEngine()

    def __init__(self, server: EmbeddedMongo) -> None:
        self.name = f"live_{uuid.uuid4().hex[:8]}"
        self._stack = contextlib.ExitStack()
        self._mask = self._stack.enter_context(ReplicaSet(server.uri))
        self._client = self._stack.enter_context(MongoClient[dict[str, Any]](self._mask.uri))
        self._server = MongoServer(self._mask.uri, self.name, IMPATIENT)
        self.live = MongoLive(self._server, self.name)
        self._origin = self._client[f"{self.name}_origin"]
        self._fill(self._origin)
        self._known = set(self._client.list_database_names())

    @property
    def _database(self) -> MongoDatabase:
        return self._client[self.name]

    def source(self) -> Source:
        return MongoSource(self._server.at(self._origin.name))

    def begin(self) -> None:
        self._fill(self._database)

    def damage(self) -> None:
        self._database["orders"].delete_many({"_id": {"$lt": 3}})
        self._database["orders"].update_many({}, {"$set": {"state": "lost"}})
        self._database.drop_collection("paid")
        self._database["since_then"].insert_one({"_id": 1})

    def counted(self, orders: int) -> dict[str, int]:
        rows = {"orders": orders, "sessions": 1, "empty": 0}
        return {f"{self.name}.{name}": count for name, count in rows.items()}

    def lose_an_order(self) -> None:
        self._database["orders"].delete_one({"_id": 1})

    def contents(self) -> object:
        views = {one["name"]: one["options"] for one in self._database.list_collections() if one["type"] == "view"}
        return self._without_sets(contents(self._database)) | views

    def rows(self, database: str = "") -> object:
        return self._without_sets(self._rows(self._client[database or self.name]))

    def rows_aside(self, quarantine: str) -> object:
        prefix, found = f"{quarantine}.", self._rows(self._database)
        return {name.removeprefix(prefix): rows for name, rows in found.items() if name.startswith(prefix)}

    def is_closed(self, quarantine: str) -> bool:
        names = [name for name in self._database.list_collection_names() if name.startswith(f"{quarantine}.")]
        indexes = [index for name in names for index in self._database[name].list_indexes()]
        return bool(names) and all(index.get(TTL, NEVER) == NEVER for index in indexes)

    def leftovers(self) -> set[str]:
        sets = {name for name in self._database.list_collection_names() if "." in name or name == SETS}
        return sets | (set(self._client.list_database_names()) - self._known - {self.name})

    def replace(self) -> None:
        self._client.drop_database(self.name)
        self.begin()

    def without_rights(self) -> LiveDatabase:
        privilege = {"resource": {"db": self.name, "collection": ""}, "actions": ["find"]}
        status = {"authenticatedUsers": [{"user": "weak", "db": "admin"}], "authenticatedUserPrivileges": [privilege]}
        self._mask.answers["connectionStatus"] = {"authInfo": status, "ok": 1.0}
        return self.live

    @contextmanager
    def dying_half_way(self) -> Iterator[None]:
        """From the third rename on, the server is gone: one collection is exchanged, and another one is in between."""
        renames = 0

        def refuse(command: dict[str, Any]) -> tuple[int, str] | None:
            nonlocal renames
            renames += "renameCollection" in command
            return (8000, "gone") if renames > 3 else None

        self._mask.refuse = refuse
        with contextlib.suppress(RestoreError):
            yield
        self._mask.refuse = lambda _: None

    def end(self) -> None:
        self._mask.answers.pop("connectionStatus", None)
        for name in {self.name, *self._client.list_database_names()} - self._known:
            self._client.drop_database(name)

    def close(self) -> None:
        self._client.drop_database(self._origin)
        self._stack.close()

    @staticmethod
    def _rows(database: MongoDatabase) -> dict[str, Any]:
        names = [one["name"] for one in database.list_collections() if one["type"] == "collection"]
        return {name: list(database[name].find(sort=[("_id", 1)])) for name in names}

    @staticmethod
    def _without_sets(found: dict[str, Any]) -> dict[str, Any]:
        return {name: one for name, one in found.items() if name != SETS and "." not in name}

    @staticmethod
    def _fill(database: MongoDatabase) -> None:
        numbers = range(1, ORDERS + 1)
        database["orders"].insert_many([{"_id": i, "state": "paid", "mail": f"m{i}"} for i in numbers])
        database["orders"].create_index("mail", unique=True)
        database["sessions"].insert_one({"_id": 1, "at": MUCH_LATER})
        database["sessions"].create_index("at", expireAfterSeconds=60)
        database.command({"create": "empty", "validator": {"a": 1}})
        database.command({"create": "paid", "viewOn": "orders", "pipeline": [{"$match": {"state": "paid"}}]})
