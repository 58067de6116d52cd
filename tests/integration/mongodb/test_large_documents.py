"""Documents whose two forms are too much for one command: brought back and taken back, on every kind of server."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.engines.mongodb.connection import MongoServer
from embedded.mongo import MongoServer as EmbeddedMongo
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import IMPATIENT, source_of
from tests.integration.mongodb.recovery import Recovery
from tests.integration.postgres.lab import Lab
from tests.support.mongo_mask import ReplicaSet

MIB = 1 << 20


@pytest.fixture(params=[True, False], ids=["standalone", "replica set"])
def mask(request: pytest.FixtureRequest, mongo: EmbeddedMongo) -> Iterator[ReplicaSet]:
    """Refuses what is too large for a command, as the server behind does not."""
    with ReplicaSet(mongo.uri, standalone=request.param) as found:
        yield found


@pytest.fixture
def recovery(lab: Lab, mongo_database: MongoDatabase, mask: ReplicaSet) -> Iterator[Recovery]:
    """Of a document of 15 MiB that has other 15 MiB now, and of one that is gone."""
    mongo_database["people"].insert_many([{"_id": i, "state": "good", "blob": os.urandom(15 * MIB)} for i in (1, 2)])
    server = MongoServer(mask.uri, mongo_database.name, IMPATIENT)
    found = Recovery(lab, mongo_database, lab.backup(source_of(mongo_database)), server)
    mongo_database["people"].update_one({"_id": 1}, {"$set": {"state": "bad", "blob": os.urandom(15 * MIB)}})
    mongo_database["people"].delete_one({"_id": 2})
    yield found
    found.scratch.drop()


def states(recovery: Recovery) -> dict[int, str]:
    return {found["_id"]: found["state"] for found in recovery.database["people"].find({}, ["state"])}


def test_they_are_overwritten_and_taken_back(recovery: Recovery) -> None:
    before = recovery.database["people"].find_one({"_id": 1})
    done = recovery.bring_back(recovery.find("1", "2"), "overwrite")
    assert (done.inserted, done.overwritten) == ({"people": 1}, {"people": 1})
    assert states(recovery) == {1: "good", 2: "good"}
    assert recovery.take_back().startswith("Taken back: 2 documents of people; left,")
    assert recovery.database["people"].find_one({"_id": 1}) == before
    assert states(recovery) == {1: "bad"}


def test_one_that_somebody_changes_stays_so(recovery: Recovery, mask: ReplicaSet) -> None:
    """Between the read and the write: a replica set says so, of a standalone the filter sees it."""
    preview, now = recovery.find("1"), ["new"]

    def somebody_is_faster(command: dict[str, Any]) -> tuple[int, str] | None:
        if "update" not in command or not now:
            return None
        recovery.database["people"].update_one({"_id": 1}, {"$set": {"state": now.pop()}})
        return None if mask.standalone else (112, "WriteConflict")

    mask.refuse = somebody_is_faster
    with pytest.raises(RowRecoveryError, match="changed while documents were written: 1"):
        recovery.bring_back(preview, "overwrite")
    assert states(recovery) == {1: "new"}
    assert ("autocommit" in mask.sent("update")[-1]) is not mask.standalone


def test_those_that_are_not_taken_back_are_named(recovery: Recovery, mask: ReplicaSet) -> None:
    """The undo goes on after one that fails, says which are left, and takes these back when it runs again."""
    recovery.bring_back(recovery.find("1", "2"), "overwrite")
    mask.refuse = lambda command: (8000, "no space") if "delete" in command else None
    with pytest.raises(
        RestoreError, match=r"1 document of people could not .*written: 2 \(no space.*\)\. Taken back: 1"
    ):
        recovery.take_back()
    assert states(recovery) == {1: "bad", 2: "good"}
    mask.refuse = lambda _: None
    assert recovery.take_back().endswith("1 document of people; left, for they were changed since or are gone: 1 (1).")
    assert states(recovery) == {1: "bad"}


def test_an_import_that_is_half_taken_back_says_so(recovery: Recovery, mask: ReplicaSet) -> None:
    preview = recovery.find("1", "2")

    def refuse(command: dict[str, Any]) -> tuple[int, str] | None:
        full = "insert" in command or ("update" in command and len(mask.sent("update")) > 1)
        return (8000, "no space") if full else None

    mask.commands.clear()
    mask.refuse = refuse
    with pytest.raises(RestoreError) as caught:
        recovery.bring_back(preview, "overwrite")
    assert "PRODUCTION IS HALF RECOVERED: 1 document" in caught.value.what
    assert states(recovery) == {1: "good"}
    mask.refuse = lambda _: None
    assert recovery.take_back().startswith("Taken back: 1 document")
    assert states(recovery) == {1: "bad"}
