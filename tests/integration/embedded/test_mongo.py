"""The embedded MongoDB: what of the real one the engine's tests can rely on."""

import re
from pathlib import Path

import bson
import pytest
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from embedded import mongo
from embedded.errors import EmbeddedError
from embedded.mongo import MongoServer
from tests.conftest import MongoDatabase

IN_ORDER = [
    MinKey(),
    None,
    1,
    2.5,
    Int64(5),
    Decimal128("7.5"),
    "a",
    {"a": 1},
    b"x",
    ObjectId(),
    False,
    MaxKey(),
]


def test_documents_come_back_byte_for_byte_in_the_order_of_their_ids(mongo_database: MongoDatabase) -> None:
    documents = [{"_id": key, "a.b": 1, "$c": Int64(2), "": None, "nested": {"z": 1, "a": [2.0]}} for key in IN_ORDER]
    collection = mongo_database["mixed"]
    collection.insert_many(reversed(documents))
    found = collection.with_options(collection.codec_options.with_options(document_class=RawBSONDocument)).find()
    assert {document.raw for document in found} == {bson.encode(one) for one in documents}
    assert [document["_id"] for document in collection.find().sort("_id")] == IN_ORDER


def test_ranges_of_ids_cross_the_borders_of_types(mongo_database: MongoDatabase) -> None:
    collection = mongo_database["mixed"]
    collection.insert_many([{"_id": key} for key in IN_ORDER])
    bounds = {"$and": [{"$gte": ["$_id", {"$literal": 2.5}]}, {"$lt": ["$_id", {"$literal": b"x"}]}]}
    assert [document["_id"] for document in collection.find({"$expr": bounds}).sort("_id")] == IN_ORDER[3:8]


def test_what_was_stored_ends_with_the_server(tmp_path: Path) -> None:
    server = MongoServer(tmp_path)
    try:
        for _ in range(2):
            with MongoClient[dict[str, object]](server.start().uri) as client:
                assert client.list_database_names() == []
                client["shop"]["orders"].insert_one({"_id": 1})
            server.stop()
            assert not server.running
    finally:
        server.stop()


def test_a_machine_without_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match="needs java"):
        MongoServer(tmp_path).start()
    assert re.fullmatch(r"The embedded MongoDB needs java, .*apt-get install default-jre-headless\)\.", mongo.missing())
