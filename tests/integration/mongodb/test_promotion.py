"""A restored copy takes the place of live collections: exchanged, killed anywhere, brought back, released."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from pymongo import MongoClient

from backup_playbook.core.errors import GuardError, PlaybookError, RestoreError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.mongodb import preflight
from backup_playbook.engines.mongodb.collections import SETS
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.preflight import inspect_live
from backup_playbook.engines.mongodb.promotion import MongoPromotion
from backup_playbook.engines.mongodb.quarantine import drop_quarantine, find_quarantine, mark_live
from backup_playbook.engines.mongodb.side_by_side import LiveMongo, MongoCopy
from embedded.mongo import MongoServer as EmbeddedMongo
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import IMPATIENT, contents
from tests.integration.postgres.lab import SOURCE, Lab
from tests.support.mongo_mask import ReplicaSet

COPY = "scratch_shop_1f3a9c02"
QUARANTINE = "shop__quarantine_20261123_120000"
LATE = "shop__late_20261123_120000"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WRITES = ("renameCollection", "update", "insert", "delete", "drop", "create", "collMod")


@pytest.fixture
def live(replica_set: ReplicaSet, mongo_database: MongoDatabase) -> Iterator[MongoDatabase]:
    """Three collections, one empty, one whose documents expire, and a view."""
    with MongoClient(replica_set.uri) as client:
        database = client[mongo_database.name]
        database["orders"].insert_many([{"_id": number, "state": "paid"} for number in range(20)])
        database["orders"].create_index("state")
        database["sessions"].insert_one({"_id": 1, "at": NOW + timedelta(days=9000)})
        database["sessions"].create_index("at", name="old", expireAfterSeconds=60)
        database.command({"create": "empty", "validator": {"a": 1}})
        database.command({"create": "paid", "viewOn": "orders", "pipeline": [{"$match": {"state": "paid"}}]})
        yield database


@pytest.fixture
def server(replica_set: ReplicaSet, live: MongoDatabase) -> MongoServer:
    return MongoServer(replica_set.uri, live.name, IMPATIENT)


@pytest.fixture
def manifest(lab: Lab, server: MongoServer) -> Manifest:
    return lab.backup(MongoSource(server))


@pytest.fixture
def good(live: MongoDatabase, manifest: Manifest) -> dict[str, Any]:
    """What was backed up. Since then, much went wrong."""
    found = everything(live)
    live["orders"].update_many({}, {"$set": {"state": "lost"}})
    live.drop_collection("paid")
    live.command({"create": "paid", "viewOn": "orders", "pipeline": []})
    live.command({"create": "wrong", "viewOn": "orders", "pipeline": []})
    live["new"].insert_one({"_id": "since then"})
    return found


@pytest.fixture
def bad(live: MongoDatabase, good: dict[str, Any]) -> dict[str, Any]:
    return everything(live)


@pytest.fixture
def promotion(lab: Lab, server: MongoServer, manifest: Manifest, bad: dict[str, Any]) -> MongoPromotion:
    """Of a proven copy."""
    copy = MongoCopy(LiveMongo(server), COPY, "run")
    lab.restore_into(copy, manifest)
    lab.prove(copy, manifest)
    return MongoPromotion(server, "", COPY, QUARANTINE, SOURCE, "dag|run", NOW)


def everything(live: MongoDatabase) -> dict[str, Any]:
    """Collections with documents and indexes, and views; without the sets."""
    prefixes = ("scratch_", SETS, "shop__")
    listed = [item for item in live.list_collections() if not item["name"].startswith(prefixes)]
    views = {item["name"]: item["options"] for item in listed if item["type"] == "view"}
    whole = contents(live)
    return {item["name"]: whole[item["name"]] for item in listed if item["type"] != "view"} | views


def die_half_way(promotion: MongoPromotion, replica_set: ReplicaSet) -> None:
    renames = count(1)
    replica_set.refuse = lambda command: (
        (8000, "gone") if next(iter(command)) == "renameCollection" and next(renames) > 2 else None
    )
    with pytest.raises(RestoreError, match="PRODUCTION IS HALF PROMOTED"):
        promotion.run()
    replica_set.refuse = lambda _: None


def ours(live: MongoDatabase) -> list[str]:
    return [name for name in live.list_collection_names() if name.startswith((COPY, SETS, "shop__"))]


def test_what_the_backup_leaves_out_stays_where_it_is(
    lab: Lab, server: MongoServer, live: MongoDatabase, replica_set: ReplicaSet
) -> None:
    live["cache"].insert_one({"_id": 1})
    live.command({"create": "cached", "viewOn": "cache", "pipeline": []})
    left_out = ("cache", "cached")
    manifest, copy = lab.backup(MongoSource(server, leave_out=left_out)), MongoCopy(LiveMongo(server), COPY, "run")
    lab.restore_into(copy, manifest)
    lab.prove(copy, manifest)
    live["orders"].delete_many({})
    then = everything(live)
    swap = MongoPromotion(server, "", COPY, QUARANTINE, SOURCE, "dag|run", NOW)
    renames = count()
    replica_set.refuse = lambda command: (
        (11600, "shutting down") if "renameCollection" in command and next(renames) == 1 else None
    )
    with pytest.raises(RestoreError, match="It is as it was"):
        swap.run()
    assert everything(live) == then
    swap.run()
    assert everything(live)["orders"] != then["orders"]
    assert {name: everything(live)[name] for name in left_out} == {name: then[name] for name in left_out}
    replace(swap, candidate=QUARANTINE, quarantine=f"{QUARANTINE}_back").run()
    assert everything(live) == then


def test_copy_takes_the_place_of_the_live_collections(
    live: MongoDatabase, promotion: MongoPromotion, good: dict[str, Any], bad: dict[str, Any], lab: Lab
) -> None:
    assert everything(live) == bad  # until then nothing is touched
    assert promotion.run().unreachable_seconds > 0
    assert everything(live) == good
    assert promotion.run().unreachable_seconds == 0  # again
    kept = contents(live)
    for name in ("orders", "empty", "new"):
        assert kept[f"{QUARANTINE}.{name}"] == bad[name]
    # a backup of now has nothing of the quarantine, in which nothing expires any more
    assert {table.name for table in lab.backup(MongoSource(promotion.server)).tables} == {"orders", "sessions", "empty"}
    documents, _ = kept[f"{QUARANTINE}.sessions"]
    expiry = live[f"{QUARANTINE}.sessions"].index_information()["old"]["expireAfterSeconds"]
    assert (documents, expiry) == (bad["sessions"][0], 2**31 - 1)


def test_what_clients_wrote_to_an_exchange_that_was_taken_back_is_kept(
    live: MongoDatabase, promotion: MongoPromotion, bad: dict[str, Any], replica_set: ReplicaSet
) -> None:
    renames = count()

    def refuse(command: dict[str, Any]) -> tuple[int, str] | None:
        if "renameCollection" in command and command["to"].endswith(".sessions"):
            live["orders"].insert_one({"_id": f"meanwhile {next(renames)}"})
            return 11600, "shutting down"
        return None

    replica_set.refuse = refuse
    with pytest.raises(RestoreError, match="It is as it was"):
        promotion.run()
    replica_set.refuse = lambda _: None
    assert everything(live) == bad
    LiveMongo(promotion.server).drop(COPY)
    assert live[f"{LATE}.orders.1"].find_one({"_id": "meanwhile 0"})
    assert not [name for name in ours(live) if name.startswith(COPY)]
    assert LiveMongo(promotion.server).list_scratches() == []


def test_exchange_that_clients_do_not_let_be_taken_back_stays_half_and_is_taken_back_later(
    live: MongoDatabase, promotion: MongoPromotion, bad: dict[str, Any], replica_set: ReplicaSet, mongo: EmbeddedMongo
) -> None:
    with MongoClient[dict[str, Any]](mongo.uri) as client:
        number = count()

        def make_anew(command: dict[str, Any]) -> None:
            if command.get("renameCollection") and command["to"] == f"{live.name}.orders":
                client[live.name]["orders"].insert_one({"_id": f"meanwhile {next(number)}"})

        replica_set.refuse = make_anew
        with pytest.raises(RestoreError, match="PRODUCTION IS HALF PROMOTED"):
            promotion.run()
        replica_set.refuse = lambda _: None
    assert promotion.reopen() == "before"
    assert everything(live) == bad


@pytest.mark.parametrize("then", ["run", "reopen"])
def test_ended_between_any_two_commands(
    live: MongoDatabase,
    promotion: MongoPromotion,
    good: dict[str, Any],
    bad: dict[str, Any],
    replica_set: ReplicaSet,
    then: str,
) -> None:
    """The server is gone after so many writes; then the same run goes on, or takes it back."""
    for allowed in count():
        left = count(allowed, -1)
        replica_set.refuse = lambda command, left=left: (
            (8000, "gone") if next(iter(command)) in WRITES and next(left) <= 0 else None
        )
        try:
            promotion.run()
            break
        except PlaybookError as error:
            replica_set.refuse = lambda _: None
            with promotion.server.connect() as database:
                state = promotion.state(database)
            assert ("HALF PROMOTED" in str(error)) is (state == "half")  # noqa: PT017 - the last round has no error
        if then == "reopen":
            assert promotion.reopen() == ("promoted" if state == "promoted" else "before")
            assert everything(live) == (good if state == "promoted" else bad)
        else:
            promotion.run()
            assert everything(live) == good
            replace(promotion, candidate=QUARANTINE, quarantine=COPY).run()  # for the next round
            assert everything(live) == bad
    assert everything(live) == good
    assert allowed > 10


def test_failure_is_taken_back(
    live: MongoDatabase, promotion: MongoPromotion, bad: dict[str, Any], replica_set: ReplicaSet
) -> None:
    replica_set.refuse = lambda command: (
        (13, "not allowed") if command.get("renameCollection", "").endswith(f"{COPY}.sessions") else None
    )
    with pytest.raises(RestoreError, match=r"not allowed\. It is as it was\."):
        promotion.run()
    assert everything(live) == bad
    replica_set.refuse = lambda _: None
    LiveMongo(promotion.server).drop(COPY)
    # what was live for a moment may have been written to
    assert sorted(ours(live)) == [SETS, *(f"{LATE}.{name}.1" for name in ("empty", "orders"))]


def test_what_clients_write_meanwhile_is_kept(
    live: MongoDatabase, promotion: MongoPromotion, good: dict[str, Any], mongo: EmbeddedMongo, replica_set: ReplicaSet
) -> None:
    with MongoClient[Any](mongo.uri) as client:
        late = count(1)

        def write_late(command: dict[str, Any]) -> None:
            if command.get("renameCollection", "").endswith(f"{COPY}.orders") and (number := next(late)) <= 2:
                client[live.name]["orders"].insert_one({"_id": f"late {number}"})

        replica_set.refuse = write_late
        promotion.run()
    assert everything(live) == good
    kept = [live[f"shop__late_20261123_120000.orders.{number}"].find_one() for number in (1, 2)]
    assert kept == [{"_id": "late 1"}, {"_id": "late 2"}]
    drop_quarantine(promotion.server, SOURCE, QUARANTINE)
    assert ours(live) == []


def test_only_what_was_proven_goes_live(live: MongoDatabase, promotion: MongoPromotion, bad: dict[str, Any]) -> None:
    live.drop_collection(f"{COPY}.orders")
    with pytest.raises(GuardError, match="not what was proven: collections are missing"):
        promotion.run()
    live[f"{COPY}.orders"].insert_one({"_id": "mine"})
    with pytest.raises(GuardError, match="not what was proven: orders"):
        promotion.run()
    assert everything(live) == bad


def test_what_applications_and_releases_change_since_the_plan_does_not_matter(
    lab: Lab, live: MongoDatabase, manifest: Manifest, promotion: MongoPromotion, good: dict[str, Any]
) -> None:
    promotion.run()
    second = replace(promotion, live_id=mark_live(promotion.server), quarantine="shop__quarantine_20261123_130000")
    copy = MongoCopy(LiveMongo(promotion.server), COPY, "run")
    lab.restore_into(copy, manifest)
    lab.prove(copy, manifest)
    live["another"].insert_one({"_id": 1})
    live.drop_collection("sessions")
    live["orders"].aggregate([{"$out": "orders"}])  # it has another UUID then
    drop_quarantine(promotion.server, SOURCE, QUARANTINE)
    second.run()
    assert everything(live) == good
    assert live["shop__quarantine_20261123_130000.another"].count_documents({}) == 1


def test_half_of_another_promotion_is_not_replaced(
    lab: Lab, live: MongoDatabase, manifest: Manifest, promotion: MongoPromotion, good: dict[str, Any],
    replica_set: ReplicaSet,
) -> None:  # fmt: skip
    copy = MongoCopy(LiveMongo(promotion.server), "scratch_shop_22222222", "run")
    lab.restore_into(copy, manifest)
    lab.prove(copy, manifest)
    die_half_way(promotion, replica_set)
    live_id = mark_live(promotion.server)  # planned while nobody knows what will be live
    second = replace(promotion, live_id=live_id, candidate=copy.name, quarantine=f"{QUARANTINE}_2")
    for _ in range(2):
        with pytest.raises(GuardError, match=rf"(?s)the run dag\|run .* {QUARANTINE} .*Nothing was touched"):
            second.run()
        promotion.run()
    assert everything(live) == good


def test_copy_is_not_dropped_while_half_of_it_is_live(
    live: MongoDatabase, promotion: MongoPromotion, good: dict[str, Any], replica_set: ReplicaSet
) -> None:
    die_half_way(promotion, replica_set)
    with pytest.raises(GuardError, match="has not ended"):
        LiveMongo(promotion.server).drop(COPY)
    with pytest.raises(GuardError, match="half of a promotion"):
        find_quarantine(promotion.server, SOURCE, "newest")
    promotion.run()
    assert everything(live) == good


def test_what_cannot_be_exchanged_is_said_before(
    live: MongoDatabase,
    server: MongoServer,
    manifest: Manifest,
    replica_set: ReplicaSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "LONGEST_NAMESPACE", 120)
    assert inspect_live(server, manifest, QUARANTINE) is None
    live.command({"create": "weather", "timeseries": {"timeField": "at"}})
    live["x" * 80].insert_one({})
    status = {
        "authenticatedUsers": [{"user": "shop", "db": "admin"}],
        "authenticatedUserPrivileges": [
            {"resource": {"db": live.name, "collection": ""}, "actions": ["find", "insert"]},
            {"resource": {"db": "other", "collection": ""}, "actions": ["collMod"]},
        ],
    }
    replica_set.answers["connectionStatus"] = {"authInfo": status, "ok": 1.0}
    replica_set.answers["dbStats"] = {"dataSize": 7, "fsTotalSize": 10.0, "fsUsedSize": 9.0, "ok": 1.0}
    with pytest.raises(RestoreError) as caught:
        inspect_live(server, manifest, QUARANTINE)
    said = str(caught.value)
    assert "shop lacks bypassDocumentValidation, collMod, createCollection" in said
    assert 'grantRolesToUser("shop", [{role: "readWrite"' in said
    assert "cannot be set aside: weather." in said
    assert "have no room" in said
    live.drop_collection("weather")
    live.drop_collection("x" * 80)
    status["authenticatedUsers"] = []
    with pytest.raises(RestoreError, match="has 1 B free"):
        inspect_live(server, manifest, QUARANTINE)


def test_errors_are_playbook_errors() -> None:
    nowhere = MongoServer("mongodb://127.0.0.1:1/", "shop", {"serverSelectionTimeoutMS": 100})
    with pytest.raises(PlaybookError):
        find_quarantine(nowhere, SOURCE, "newest")
