"""A MongoDB database for the tests of what engines do to production."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.guards import CollectionsIdentity
from backup_playbook.engines.contract import Source
from backup_playbook.engines.mongodb.collections import NEVER, SETS, TTL
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.document_undo import undo
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.live import MongoLive
from backup_playbook.engines.mongodb.records import MongoRecords
from backup_playbook.engines.mongodb.scratch import MongoScratchServer, read_collections_identity
from backup_playbook.engines.record_recovery import WantedRecords
from embedded.mongo import MongoServer as EmbeddedMongo
from tests.conftest import MongoDatabase
from tests.contract.scenes import ORDERS
from tests.integration.mongodb.lab import IMPATIENT, contents
from tests.support.mongo_mask import ReplicaSet

MUCH_LATER = datetime(2099, 1, 1, tzinfo=UTC)


class MongoScene:
    """With a view, an empty collection with options, and one whose documents expire; of a replica set."""

    engine = MongoEngine()

    def __init__(self, server: EmbeddedMongo) -> None:
        self.name = f"live_{uuid.uuid4().hex[:8]}"
        self._stack = contextlib.ExitStack()
        self._mask = self._stack.enter_context(ReplicaSet(server.uri))
        self._client = self._stack.enter_context(MongoClient[dict[str, Any]](self._mask.uri))
        self._server = MongoServer(self._mask.uri, self.name, IMPATIENT)
        self.live = self.of(self.name)
        self.staging = MongoScratchServer(self._server, self._production)
        self._origin = self._client[f"{self.name}_origin"]
        self._fill(self._origin)
        self._known = set(self._client.list_database_names())

    @property
    def _database(self) -> MongoDatabase:
        return self._client[self.name]

    def of(self, source: str) -> MongoLive:
        return MongoLive(source, self._server, self._server)

    def records(self, wanted: WantedRecords) -> MongoRecords:
        return MongoRecords(self._server, wanted)

    def source(self) -> Source:
        return MongoSource(self._server.at(self._origin.name))

    def begin(self) -> None:
        self._fill(self._database)

    def damage(self) -> None:
        self._database["orders"].delete_many({"_id": {"$lt": 3}})
        self._database["orders"].update_many({}, {"$set": {"state": "lost"}})
        self._database.drop_collection("paid")
        self._database["since_then"].insert_one({"_id": 1})

    def go_on(self) -> None:
        self.delete(ORDERS)
        self._database.command({"collMod": "sessions", "index": {"name": "at_1", TTL: 7}})

    def counted(self, orders: int) -> dict[str, int]:
        rows = {"orders": orders, "sessions": 1, "empty": 0}
        return {f"{self.name}.{name}": count for name, count in rows.items()}

    def orders(self) -> dict[int, tuple[str, str]]:
        return {one["_id"]: (one["state"], one["mail"]) for one in self._database["orders"].find()}

    def delete(self, *orders: int) -> None:
        self._database["orders"].delete_many({"_id": {"$in": orders}})

    def change(self, order: int) -> None:
        self._database["orders"].update_one({"_id": order}, {"$set": {"state": "changed"}})

    def insert(self, order: int, mail: str) -> None:
        self._database["orders"].insert_one({"_id": order, "state": "paid", "mail": mail})

    def below(self, order: int) -> str:
        return json.dumps({"_id": {"$lt": order}})

    def undo(self, content: bytes) -> None:
        undo(self._server.uri, content)

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

    def without_rights(self) -> MongoLive:
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

    def _production(self) -> list[CollectionsIdentity]:
        return [read_collections_identity(self._server)]

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
