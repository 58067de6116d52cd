"""Databases of odd shapes: backed up, verified, restored and proven equal, every byte of them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp

from backup_playbook.core.model import Manifest
from backup_playbook.core.proof import Proof
from backup_playbook.engines.mongodb.archive import consistency_note
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import contents, restore_sh, scratch_of, source_of
from tests.integration.postgres.lab import Lab, assert_restored

RoundTrip = Callable[..., tuple[Manifest, Proof]]

IDS = [
    MinKey(), None, -1.5, 0, 1, Int64(2**40), Decimal128("1E+6"), float("inf"), "", "$a", "a", "ä", {"a": 1},
    {"$gt": 1}, {"b": [1, "x"]}, b"", b"bytes", Binary(b"u" * 16, 4), ObjectId(b"0" * 12), ObjectId(b"z" * 12), False,
    True, DatetimeMS(-(2**60)), datetime(1950, 1, 1, tzinfo=UTC), DatetimeMS(2**60), Timestamp(1, 2), MaxKey(),
]  # fmt: skip
NAMES = [
    "with space", "a.b.c", "ünïcode ☃", "semi;colon", "single'quote", 'double"quote', "(touch pwned)", "`touch pwned`",
    "new\nline", "slash/es", "back\\slash", "per%cent", "x.bson", "x.zst", "x.bson.zst", "--drop",
    "metadata.json", "a" * 115, "\t", "€" * 38, "UPPER", "upper",
]  # fmt: skip


@pytest.fixture
def round_trip(lab: Lab, mongo_database: MongoDatabase) -> RoundTrip:
    """Backed up, read back, restored by us and by restore.sh, and compared by other means than ours."""

    def run(**options: Any) -> tuple[Manifest, Proof]:
        manifest = lab.backup(source_of(mongo_database, **options))
        lab.verify(manifest)
        target = scratch_of(mongo_database)
        copy = mongo_database.client[f"{mongo_database.name}_copy"]
        try:
            lab.restore_into(target, manifest)
            proof = lab.prove(target, manifest)
            expected = contents(mongo_database)
            restored = mongo_database.client[target.name]
            restored.drop_collection("backup_playbook_scratch")
            assert contents(restored) == expected
            assert_restored(restore_sh(lab, manifest, copy))
            assert contents(copy) == expected
        finally:
            mongo_database.client.drop_database(target.name)
            mongo_database.client.drop_database(copy)
        return manifest, proof

    return run


def test_ids_of_every_type_in_ranges(mongo_database: MongoDatabase, round_trip: RoundTrip) -> None:
    mongo_database["mixed"].insert_many([{"_id": key, "v": "x" * 500} for key in reversed(IDS)])
    manifest, proof = round_trip(chunk_bytes=1500)
    [table] = manifest.tables
    assert len(table.parts) > 4
    assert (table.rows, proof.rows) == (len(IDS), len(IDS))


def test_names_of_fields_that_mean_something_elsewhere(mongo_database: MongoDatabase, round_trip: RoundTrip) -> None:
    mongo_database["odd"].insert_many(
        [
            {"_id": 1, "a.b": 1, "$set": {"$inc": 1}, "": None, " ": 0, "ä": Code("function() {}")},
            {"_id": 2, "nested": [[], [{}], {"": {"": {}}}], "never": float("nan"), "zero": -0.0},
            {
                "_id": 3,
                "regex": re.compile("^a.*/", re.IGNORECASE),
                "uuid": Binary(b"u" * 16, 4),
                "long": "x" * 100_000,
            },
        ]
    )
    round_trip()


def test_documents_of_16_megabytes(mongo_database: MongoDatabase, round_trip: RoundTrip) -> None:
    most = 16 * 1024 * 1024
    for number in range(2):
        empty = len(bson.encode({"_id": number, "s": ""}))
        mongo_database["large"].insert_one({"_id": number, "s": "x" * (most - empty)})
    mongo_database["large"].insert_one({"_id": 9})
    manifest, _ = round_trip(chunk_bytes=most)
    assert manifest.content_bytes > 2 * most


def test_names_of_collections_are_data(mongo_database: MongoDatabase, round_trip: RoundTrip, lab: Lab) -> None:
    for name in NAMES:
        mongo_database[name].insert_one({"_id": name})
    manifest, _ = round_trip()
    assert {table.name for table in manifest.tables} == set(NAMES)
    assert not list(lab.directory.rglob("pwned"))


def test_indexes_of_every_kind(mongo_database: MongoDatabase, round_trip: RoundTrip) -> None:
    collection = mongo_database["indexed"]
    collection.insert_many([{"_id": i, "u": i, "t": "words", "at": datetime(2020, 1, 1, tzinfo=UTC)} for i in range(9)])
    collection.create_index("u", unique=True, name="the unique one")
    collection.create_index([("u", -1), ("t", 1)], sparse=True)
    collection.create_index("p", partialFilterExpression={"p": {"$gt": 5}})
    collection.create_index([("t", "text")], default_language="german")
    collection.create_index("at", expireAfterSeconds=10**9)
    round_trip()


def test_empty_collections_cost_one_small_object(mongo_database: MongoDatabase, round_trip: RoundTrip) -> None:
    for number in range(30):
        mongo_database.create_collection(f"c{number}")
    manifest, proof = round_trip()
    assert len(manifest.objects) == len(proof.tables) == 30


def test_what_is_left_out_is_said(mongo_database: MongoDatabase, lab: Lab) -> None:
    mongo_database["kept"].insert_one({"_id": 1})
    mongo_database["cache"].insert_one({"_id": 1})
    manifest = lab.backup(source_of(mongo_database, leave_out=("cache",)))
    assert [table.name for table in manifest.tables] == ["kept"]
    assert manifest.details["left_out"] == ["cache"]


def test_a_database_that_does_not_exist(mongo_database: MongoDatabase, lab: Lab) -> None:
    error = lab.refused(source_of(mongo_database))
    assert "has no collections" in error.what
    assert "database" in error.remedy


def test_a_backup_says_that_it_is_of_no_one_moment(mongo_database: MongoDatabase, lab: Lab) -> None:
    mongo_database["letters"].insert_one({"_id": 1})
    manifest = lab.backup(source_of(mongo_database))
    assert (manifest.details["deployment"], manifest.details["consistency"]) == ("standalone", "per collection")
    assert manifest.details["cluster_time"] is None
    assert consistency_note(manifest) == ", each collection at a moment of its own"
    assert "a moment of its own" in lab.restore_script(manifest)
