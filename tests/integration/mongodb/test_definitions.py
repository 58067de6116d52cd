"""Options, indexes and values that are easily lost: restored as they were, or named."""

from typing import Any

import bson
import pytest
from bson import DatetimeMS, Regex, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from backup_playbook.core.errors import RestoreError, UnequalError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.mongodb import dump
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.document_import import import_documents, preview_documents, remaining_documents
from backup_playbook.engines.mongodb.document_search import load_documents, wanted_documents
from backup_playbook.engines.mongodb.document_undo import undo
from backup_playbook.engines.mongodb.scratch import MongoScratch
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import contents, source_of
from tests.integration.mongodb.recovery import Recovery
from tests.integration.postgres.lab import Lab
from tests.support.mongo_mask import ReplicaSet

NEVER = DatetimeMS(8640000000000000)
"""The last date that JavaScript knows: the year 275760."""


@pytest.fixture
def server(replica_set: ReplicaSet, origin: MongoDatabase) -> MongoServer:
    return MongoServer(replica_set.uri, origin.name)


def copy_of(replica_set: ReplicaSet, target: MongoScratch) -> Any:
    return MongoClient(replica_set.uri)[target.name]


def restored(lab: Lab, target: MongoScratch, manifest: Manifest) -> None:
    lab.verify(manifest)
    lab.restore_into(target, manifest)


def test_conditions_come_back_whole_and_a_copy_without_a_part_of_them_is_not_equal(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase, target: MongoScratch, server: MongoServer
) -> None:
    view = [{"$match": {"email": {"$regex": "@example\\.com$", "$nin": ["root@example.com"]}}}]
    validator = {"email": {"$type": "string", "$regex": "@"}}
    partial = {"name": {"$regex": "^a", "$exists": True}, "email": Regex("x", "i"), "until": {"$lte": NEVER}}
    origin.command({"create": "people", "validator": validator})
    origin.command({"create": "visible", "viewOn": "people", "pipeline": view})
    origin["people"].insert_one({"_id": 1, "name": "a", "email": "a@example.com"})
    origin["people"].create_index("name", partialFilterExpression=partial)
    manifest = lab.backup(dump.MongoSource(server))
    restored(lab, target, manifest)
    created = {command["create"]: command for command in replica_set.sent("create")}
    assert bson.encode({"": list(created["visible"]["pipeline"])}) == bson.encode({"": view})
    assert bson.encode(created["people"]["validator"]) == bson.encode(validator)
    indexes = replica_set.sent("createIndexes")[-1]
    assert bson.encode(indexes["indexes"][0]["partialFilterExpression"]) == bson.encode(partial)
    lab.prove(target, manifest)

    options = replica_set._options
    for name, change in (
        ("visible", {"viewOn": "people", "pipeline": [{"$match": {"email": Regex("@example\\.com$")}}]}),
        ("people", {"validator": {"email": Regex("@")}}),
    ):
        namespace = f"{target.name}.{name}"
        kept, options[namespace] = options[namespace], change
        with pytest.raises(UnequalError, match=rf"{name} is a"):
            lab.prove(target, manifest)
        options[namespace] = kept
    people = copy_of(replica_set, target)["people"]
    people.drop_index("name_1")
    people.create_index("name", partialFilterExpression={**partial, "name": {"$regex": "^a"}})
    with pytest.raises(UnequalError, match="The index name_1 of people"):
        lab.prove(target, manifest)


def test_empty_timestamps_stay_empty(
    lab: Lab, replica_set: ReplicaSet, mongo_database: MongoDatabase, origin: MongoDatabase, target: MongoScratch,
    server: MongoServer,
) -> None:  # fmt: skip
    people = mongo_database["people"]  # past the mask, which stamps them as a server does
    people.insert_many([{"_id": 1, "at": Timestamp(0, 0), "until": NEVER}, {"_id": 2, "at": Timestamp(3, 4)}])
    before = contents(mongo_database)
    manifest = lab.backup(dump.MongoSource(server))
    restored(lab, target, manifest)
    lab.prove(target, manifest)

    people.replace_one({"_id": 1}, {"_id": 1, "at": Timestamp(0, 0), "other": True})
    changed = contents(mongo_database)
    target.drop()
    target.create(manifest)
    wanted, kept = wanted_documents("people", ["1", "2"], ""), []
    load_documents(target, lab.reader(manifest), wanted, lab.cancellation)
    preview = preview_documents(server, target, wanted)
    assert preview.tables[0].counts == {"differs": 1, "equal": 1}
    import_documents(server, target, wanted, preview, "overwrite", lambda content: kept.append(content) or "kept")
    assert contents(mongo_database) == before
    assert remaining_documents(server, target, wanted) == {"equal": 2}
    undo(replica_set.uri, kept[0])
    assert contents(mongo_database) == changed


def test_import_that_ends_before_a_timestamp_is_empty_again_says_what_stays(
    lab: Lab, replica_set: ReplicaSet, mongo_database: MongoDatabase, target: MongoScratch, server: MongoServer
) -> None:
    mongo_database["people"].insert_one({"_id": 1, "at": Timestamp(0, 0)})
    manifest = lab.backup(dump.MongoSource(server))
    mongo_database["people"].delete_many({})
    target.create(manifest)
    wanted = wanted_documents("people", ["1"], "")
    load_documents(target, lab.reader(manifest), wanted, lab.cancellation)
    preview = preview_documents(server, target, wanted)
    replica_set.refuse = lambda command: (11600, "shutting down") if "update" in command else None
    with pytest.raises(RestoreError, match="PRODUCTION IS HALF RECOVERED: 1 document"):
        import_documents(server, target, wanted, preview, "stop", lambda _: "kept")
    replica_set.refuse = lambda _: None


def test_what_only_older_servers_took_is_restored_without_and_named(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase, target: MongoScratch, server: MongoServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    origin.command({"create": "people", "flags": 1, "autoIndexId": True})
    origin["people"].insert_one({"_id": 1, "a": 1})
    old = (
        {"v": 1, "key": {"_id": 1}, "name": "_id_", "ns": "shop.people"},
        {"v": 2, "key": {"a": True}, "name": "a_1", "safe": None, "w": 1},
        {"v": 2, "key": {"at": 1}, "name": "at_1", "expireAfterSeconds": float("nan")},
        {"v": 2, "key": {"at": 1, "b": 1}, "name": "both", "expireAfterSeconds": 60},
    )
    with monkeypatch.context() as patched:
        patched.setattr(dump, "list_indexes", lambda *_: old)
        manifest = lab.backup(dump.MongoSource(server))

    def refuse(command: dict[str, Any]) -> tuple[int, str] | None:
        if any("safe" in index for index in command.get("indexes", ())):
            return 197, "The field 'safe' is not valid for an index specification."
        return (72, "flags is not valid") if "flags" in command else None

    replica_set.refuse = refuse
    restored(lab, target, manifest)
    left_out = "; ".join(lab.prove(target, manifest).left_out)
    for words in ("options autoIndexId, flags", "index a_1 of people the options safe, w", "index at_1 of people",
                  "index both of people the expiry after 60 (no server acts on it)"):  # fmt: skip
        assert words in left_out
    made = copy_of(replica_set, target)["people"].index_information()
    assert made["a_1"]["key"] == [("a", 1)]
    assert made["at_1"]["expireAfterSeconds"] == 2**31 - 1
    assert "expireAfterSeconds" not in made["both"]


def test_search_indexes_are_named(
    lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase, target: MongoScratch, server: MongoServer
) -> None:
    origin["people"].insert_one({"_id": 1})
    origin["plain"].insert_one({"_id": 1})
    for name, indexes in (("people", [{"name": "by_name"}, {"name": "by_vector"}]), ("plain", [])):
        replica_set.searchable[f"{origin.name}.{name}"] = indexes
    manifest = lab.backup(dump.MongoSource(server))
    assert manifest.details["search_indexes"] == {"people": ["by_name", "by_vector"]}
    restored(lab, target, manifest)
    assert "the search indexes by_name, by_vector of people" in lab.prove(target, manifest).left_out


def test_documents_with_dates_of_any_year_and_text_that_is_not_utf8_come_back_and_go_again(
    lab: Lab, replica_set: ReplicaSet, mongo_database: MongoDatabase, origin: MongoDatabase, target: MongoScratch,
    server: MongoServer,
) -> None:  # fmt: skip
    mongo_database["people"].insert_many([{"_id": 1, "expires": NEVER}, {"_id": NEVER, "expires": NEVER}])
    odd = RawBSONDocument(
        bson.encode({"_id": 3, "name": "gr\u00f6\u00dfe"}).replace("\u00f6\u00df".encode(), b"\xf6\xdfxx")
    )
    recovery = Recovery(lab, mongo_database, lab.backup(source_of(mongo_database)))
    try:
        before = contents(mongo_database)
        mongo_database["people"].delete_many({})
        recovery.bring_back(recovery.find("1", '{"$date": {"$numberLong": "8640000000000000"}}'))
        assert contents(mongo_database) == before
        assert recovery.take_back().endswith("left, for they were changed since or are gone: 0.")
        assert mongo_database["people"].count_documents({}) == 0
    finally:
        recovery.scratch.drop()

    live, loaded = f"{origin.name}.people", f"{target.name}.loaded"
    replica_set.stored |= {live: [odd]}
    manifest = lab.backup(dump.MongoSource(server))
    replica_set.stored |= {live: [], loaded: []}
    target.create(manifest)
    wanted = wanted_documents("people", ["3"], "")
    load_documents(target, lab.reader(manifest), wanted, lab.cancellation)
    preview = preview_documents(server, target, wanted)
    import_documents(server, target, wanted, preview, "stop", lambda _: "kept")
    assert [document.raw for document in replica_set.stored[live]] == [odd.raw]
