"""What only a replica set has. No mongod can be installed here: the tests look at the commands that one would get."""

import base64
import json
from typing import Any

import bson
import pytest
from bson import Int64
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from backup_playbook.core.errors import GuardError, RestoreError, SourceError
from backup_playbook.core.model import ObjectKind
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.engines.mongodb.archive import consistency_note
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.document_conflicts import unique_indexes
from backup_playbook.engines.mongodb.document_import import import_documents, preview_documents
from backup_playbook.engines.mongodb.document_search import load_documents, raw, require_collection, wanted_documents
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.scratch import MongoScratch, MongoScratchServer, read_collections_identity
from backup_playbook.engines.scratch import scratch_name
from embedded.mongo import MongoServer as EmbeddedMongo
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import host_of
from tests.integration.postgres.lab import SOURCE, Lab
from tests.support.mongo_mask import SNAPSHOT, ReplicaSet


def source_of(replica_set: ReplicaSet, origin: MongoDatabase, **options: int) -> MongoSource:
    return MongoSource(MongoServer(replica_set.uri, origin.name), **options)


def test_every_read_is_of_one_cluster_time(lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase) -> None:
    origin["small"].insert_one({"_id": 1})
    origin["big"].insert_many([{"_id": i, "v": "x" * 200} for i in range(2000)])
    replica_set.commands.clear()
    manifest = lab.backup(source_of(replica_set, origin, chunk_bytes=100_000))
    assert manifest.details["consistency"] == "snapshot"
    assert manifest.details["cluster_time"] == [SNAPSHOT.time, SNAPSHOT.inc]
    assert manifest.snapshot_at == SNAPSHOT.as_datetime()
    first, *others = [command for command in replica_set.sent("find") if not command["find"].startswith("system.")]
    assert dict(first["readConcern"]) == {"level": "snapshot"}
    assert len(others) == sum(len(table.parts) for table in manifest.tables) > 4
    for command in others:
        assert dict(command["readConcern"]) == {"level": "snapshot", "atClusterTime": SNAPSHOT}
        assert "lsid" in command


def test_capped_collections_have_no_snapshots_before_8(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase
) -> None:
    origin.command({"create": "adults", "viewOn": "people", "pipeline": []})
    origin.command({"create": "log", "capped": True, "size": 4096})
    origin["log"].insert_one({"_id": 1})
    origin["people"].insert_one({"_id": 1})
    replica_set.answers["buildInfo"] = {"version": "7.0.14", "ok": 1.0}
    replica_set.refuse = lambda command: (
        (246, "Unable to read from a snapshot")
        if command.get("find") == "log" and command.get("readConcern", {}).get("level") == "snapshot"
        else None
    )
    replica_set.commands.clear()
    manifest = lab.backup(source_of(replica_set, origin))
    reads = [(command["find"], dict(command["readConcern"])) for command in replica_set.sent("find")
             if not command["find"].startswith("system.")]  # fmt: skip
    assert reads[0] == ("people", {"level": "snapshot"})
    snapshot = {"level": "snapshot", "atClusterTime": SNAPSHOT}
    assert sorted(reads[1:], key=lambda read: read[0]) == [("log", {"level": "majority"}), ("people", snapshot)]
    assert (manifest.details["consistency"], manifest.details["unsnapshotted"]) == ("snapshot", ["log"])
    assert consistency_note(manifest) == ", but log at a moment of its own"
    assert "at a moment of their own: log." in lab.restore_script(manifest)

    origin.drop_collection("people")
    manifest = lab.backup(source_of(replica_set, origin))
    assert (manifest.details["consistency"], manifest.details["unsnapshotted"]) == ("per collection", [])

    replica_set.answers.clear()
    replica_set.refuse = lambda _: None
    manifest = lab.backup(source_of(replica_set, origin))
    assert (manifest.details["consistency"], manifest.details["unsnapshotted"]) == ("snapshot", [])


@pytest.mark.parametrize(
    ("code", "remedy"), [(239, "minSnapshotHistoryWindowInSeconds"), (246, "createIndexes, collMod or a rename")]
)
def test_a_snapshot_that_is_gone(
    code: int, remedy: str, lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase
) -> None:
    origin["letters"].insert_one({"_id": 1})
    replica_set.refuse = lambda command: (
        (code, "Read timestamp is older than the oldest available timestamp.")
        if "atClusterTime" in command.get("readConcern", {})
        else None
    )
    error = lab.refused(source_of(replica_set, origin))
    assert "letters" in error.what
    assert remedy in error.remedy


def test_options_come_first_and_indexes_last_and_expiry_after_the_proof(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase, target: MongoScratch
) -> None:
    german = {"locale": "de", "strength": 2}
    origin.command({"create": "people", "validator": {"name": {"$type": "string"}}, "collation": german})
    origin.command({"create": "log", "capped": True, "size": 4096, "max": 100})
    clustered = {"key": {"_id": 1}, "unique": True}
    origin.command({"create": "sessions", "clusteredIndex": clustered, "expireAfterSeconds": Int64(3600)})
    origin.command({"create": "adults", "viewOn": "people", "pipeline": [{"$match": {"age": {"$gte": 18}}}]})
    origin["people"].insert_one({"_id": 1, "name": 7, "age": 20})  # older than its validator
    origin["log"].insert_many([{"_id": number} for number in (3, 1, 2)])
    origin["people"].create_index("age")
    origin["people"].create_index("left_at", expireAfterSeconds=60)
    manifest = lab.backup(source_of(replica_set, origin))
    assert {table.name: table.kind for table in manifest.tables} == {
        "log": "capped", "people": "collection", "sessions": "collection",
    }  # fmt: skip
    assert manifest.details["views"] == ["adults"]

    replica_set.commands.clear()
    lab.restore_into(target, manifest)
    created = {command["create"]: command for command in replica_set.sent("create")}
    assert dict(created["people"]["collation"]) == german
    assert (created["log"]["capped"], created["log"]["size"], created["log"]["max"]) == (True, 4096, 100)
    assert "expireAfterSeconds" not in created["sessions"]
    assert created["adults"]["viewOn"] == "people"
    inserts = [command for command in replica_set.sent("insert") if command["insert"] != "backup_playbook_scratch"]
    assert all(command["bypassDocumentValidation"] for command in inserts)
    [log] = [command for command in inserts if command["insert"] == "log"]
    assert [document["_id"] for document in log["documents"]] == [3, 1, 2]
    [indexes] = replica_set.sent("createIndexes")
    assert [(index["name"], dict(index["collation"])) for index in indexes["indexes"]] == [
        ("age_1", {"locale": "simple"})
    ]
    assert indexes["commitQuorum"] == "majority"
    names = [next(iter(command)) for command in replica_set.commands]
    assert max(i for i, name in enumerate(names) if name == "create") < names.index("insert", names.index("create"))
    assert names.index("createIndexes") > max(i for i, name in enumerate(names) if name == "insert")

    replica_set.commands.clear()
    proof = lab.prove(target, manifest)
    assert proof.rows == 4
    reads = {command["find"]: dict(command["sort"]) for command in replica_set.sent("find") if "sort" in command}
    assert reads == {"people": {"_id": 1}, "sessions": {"_id": 1}, "log": {"$natural": 1}}
    [late] = replica_set.sent("createIndexes")
    assert [(index["name"], index["expireAfterSeconds"]) for index in late["indexes"]] == [("left_at_1", 60)]
    [changed] = replica_set.sent("collMod")
    assert (changed["collMod"], changed["expireAfterSeconds"]) == ("sessions", 3600)
    names = [next(iter(command)) for command in replica_set.commands]
    assert names.index("createIndexes") > max(i for i, name in enumerate(names) if name == "find")
    assert lab.prove(target, manifest) == proof


def test_unique_values_are_looked_for_with_the_collation_of_the_index(
    replica_set: ReplicaSet, origin: MongoDatabase
) -> None:
    live = raw(origin["people"])
    live.create_index("name", unique=True)
    [index] = unique_indexes(live)
    assert not index.is_taken(live, RawBSONDocument(bson.encode({"_id": 1, "name": "Ada"})))
    [command] = replica_set.sent("find")
    assert dict(command["collation"]) == {"locale": "simple"}


def test_no_documents_are_recovered_into_a_capped_collection(replica_set: ReplicaSet, origin: MongoDatabase) -> None:
    origin.command({"create": "log", "capped": True, "size": 4096})
    with pytest.raises(RowRecoveryError, match="log is a capped collection of") as caught:
        require_collection(MongoServer(replica_set.uri, origin.name), "log")
    assert "restore the backup elsewhere" in caught.value.remedy


def test_time_series_travel_as_their_buckets(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase, target: MongoScratch
) -> None:
    origin.command({"create": "weather", "timeseries": {"timeField": "at", "metaField": "place"}})
    origin["weather"].drop_index("place_1_at_1")
    bucket = RawBSONDocument(bson.encode({"_id": 1, "control": {"version": 1}, "data": {}}))
    replica_set.stored[f"{origin.name}.system.buckets.weather"] = [bucket]
    manifest = lab.backup(source_of(replica_set, origin))
    [table] = manifest.tables
    assert (table.name, table.kind, table.rows) == ("weather", "timeseries", 1)
    assert f"{origin.name}/system.buckets.weather.bson.zst" in [item.name for item in manifest.objects]
    replica_set.commands.clear()
    replica_set.stored[f"{target.name}.system.buckets.weather"] = []
    lab.restore_into(target, manifest)
    assert replica_set.sent("create")[0]["create"] == "weather"
    assert [command["index"] for command in replica_set.sent("dropIndexes")] == ["place_1_at_1"]
    assert [command["insert"] for command in replica_set.sent("insert")][-1] == "system.buckets.weather"
    lab.prove(target, manifest)


@pytest.fixture
def twice(replica_set: ReplicaSet, origin: MongoDatabase) -> RawBSONDocument:
    """A document with a key that is there two times, in the collection `twice`. Drivers read the last one."""
    body = bson.encode({"_id": 1, "a": 1})[4:-1] + bson.encode({"a": 2})[4:-1]
    document = RawBSONDocument(struct_length(body) + body + b"\0")
    origin["twice"].insert_one({"_id": 1})
    replica_set.stored[f"{origin.name}.twice"] = [document]
    return document


def test_keys_that_a_document_has_twice(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase, target: MongoScratch, twice: RawBSONDocument
) -> None:
    manifest = lab.backup(source_of(replica_set, origin))
    [table] = manifest.tables
    assert (table.rows, table.bytes) == (1, len(twice.raw))
    replica_set.stored[f"{target.name}.twice"] = []
    lab.restore_into(target, manifest)
    assert [document.raw for document in replica_set.stored[f"{target.name}.twice"]] == [twice.raw]
    lab.prove(target, manifest)


def test_a_recovered_document_has_its_keys_twice(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase, target: MongoScratch, twice: RawBSONDocument
) -> None:
    manifest = lab.backup(source_of(replica_set, origin))
    live, loaded = f"{origin.name}.twice", f"{target.name}.loaded"
    replica_set.stored |= {live: [], loaded: []}
    server, wanted, kept = MongoServer(replica_set.uri, origin.name), wanted_documents("twice", ["1"], ""), []
    target.create(manifest)
    load_documents(target, lab.reader(manifest), wanted, lab.cancellation)
    preview = preview_documents(server, target, wanted)
    assert preview.tables[0].counts == {"missing": 1}
    import_documents(server, target, wanted, preview, "stop", lambda content: kept.append(content) or "kept")
    assert [document.raw for document in replica_set.stored[live]] == [twice.raw]
    [undo] = [json.loads(content) for content in kept]
    assert base64.b64decode(undo["documents"][0]["written"]) == twice.raw


def test_production_is_recognised_by_the_uuids_of_its_collections(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase, target: MongoScratch
) -> None:
    origin["letters"].insert_one({"_id": 1})
    manifest = lab.backup(source_of(replica_set, origin))
    known = read_collections_identity(MongoServer(replica_set.uri, origin.name))
    assert known.collections == frozenset(manifest.details["collections"].values())
    assert len(known.collections) == 1
    target.create(manifest)
    replica_set._uuids[f"{target.name}.letters"] = replica_set._uuids[f"{origin.name}.letters"]
    MongoClient(replica_set.uri)[target.name]["letters"].insert_one({"_id": 1})
    guarded = MongoScratch(MongoScratchServer(target.host.server, lambda: [known]), target.name, "test")
    with pytest.raises(GuardError, match="is the production database"):
        guarded.drop()
    with pytest.raises(GuardError, match="is the production database"):
        target.restore(lab.reader(manifest), lab.cancellation)
    replica_set._uuids.pop(f"{target.name}.letters")


def test_users_and_roles_where_permitted(lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase) -> None:
    origin["letters"].insert_one({"_id": 1})
    user = RawBSONDocument(bson.encode({"_id": f"{origin.name}.app", "user": "app", "db": origin.name}))
    for kind in ("users", "roles", "version"):
        replica_set.stored[f"admin.system.{kind}"] = [user]
    manifest = lab.backup(source_of(replica_set, origin))
    users = [item for item in manifest.objects if item.kind is ObjectKind.USERS]
    assert [item.name for item in users] == [
        f"{origin.name}/$admin.system.{kind}.bson.zst" for kind in ("users", "roles", "version")
    ]
    assert b"".join(lab.reader(manifest).content(users[0])) == user.raw
    assert {"db": origin.name} in [dict(command.get("filter", {})) for command in replica_set.sent("find")]
    lab.verify(manifest)


def test_a_user_who_may_not_read_a_collection(lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase) -> None:
    origin["letters"].insert_one({"_id": 1})
    replica_set.refuse = lambda command: (13, "not authorized") if command.get("find") == "letters" else None
    error = lab.refused(source_of(replica_set, origin))
    assert "not authorized" in error.what
    assert "role" in error.remedy


def test_a_collection_that_is_made_anew_while_it_is_read(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase
) -> None:
    origin["letters"].insert_one({"_id": 1})
    origin["others"].insert_one({"_id": 1})

    def replace(command: dict[str, Any]) -> None:
        if command.get("find") == "letters" and "atClusterTime" in command["readConcern"]:
            replica_set._uuids.pop(f"{origin.name}.letters", None)

    replica_set.refuse = replace
    with pytest.raises(SourceError, match=r"letters of .* was dropped, renamed or made anew"):
        lab.backup(source_of(replica_set, origin))
    assert lab.leftovers() == []


def test_a_target_that_is_older_than_the_backup(lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase,
                                                mongo: EmbeddedMongo) -> None:  # fmt: skip
    origin["letters"].insert_one({"_id": 1})
    manifest = lab.backup(source_of(replica_set, origin))
    older = MongoScratch(host_of(MongoServer(mongo.uri, "admin")), scratch_name(SOURCE), "test")
    with pytest.raises(RestoreError, match=r"MongoDB 5\.0\.0, older than the 8\.0\.4"):
        older.create(manifest)
    assert older.host.list_scratches() == [] or older.name not in {one.name for one in older.host.list_scratches()}


def struct_length(body: bytes) -> bytes:
    return (len(body) + 5).to_bytes(4, "little")
