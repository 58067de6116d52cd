import re
from datetime import UTC, datetime

import pytest
from bson import DatetimeMS, Int64, Timestamp

from backup_playbook.engines.mongodb.collections import Collection, bson_file, from_json, metadata_file, to_json
from backup_playbook.engines.mongodb.ranges import IdRange, between


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("orders", "shop/orders.bson"),
        ("a/b c%d", "shop/a%2Fb%20c%25d.bson"),
        ("$admin.system.users", "shop/$admin.system.users.bson"),
        ("ü", "shop/%C3%BC.bson"),
        ("a'b\n`", "shop/a%27b%0A%60.bson"),
    ],
)
def test_files_have_the_names_that_mongodump_gives_them(name: str, expected: str) -> None:
    assert bson_file("shop", name) == expected
    assert metadata_file("shop", name) == expected.replace(".bson", ".metadata.json")


def test_long_names_stay_apart_and_fit_a_file_system() -> None:
    files = {bson_file("shop", "é" * 60 + str(number)) for number in range(3)}
    assert len(files) == 3
    for file in files:
        assert len(file.removeprefix("shop/")) == 238 + len(".bson")
        assert re.fullmatch(r"shop/[A-F0-9%]{208}%24[\w-]{27}\.bson", file)


def test_options_and_indexes_come_back_as_they_were() -> None:
    options = {
        "validator": {
            "at": {"$gt": datetime(1950, 1, 1, tzinfo=UTC).replace(tzinfo=None)},
            "n": Int64(1),
            "t": Timestamp(1, 2),
        },
        "size": 4096.0,
    }
    collection = Collection(
        "letters", "collection", options, ({"v": 2, "key": {"b": 1, "a": -1}, "name": "b_1"},), "ab"
    )
    found = Collection.from_json(collection.to_json())
    assert found == collection
    assert list(found.indexes[0]["key"]) == ["b", "a"]
    assert b'"$numberLong": "1"' in collection.to_json()


@pytest.mark.parametrize("bound", [DatetimeMS(-(2**60)), {"$gt": 1, "a": [None]}, "$name", float("nan"), b"\0"])
def test_bounds_are_values_and_no_operators(bound: object) -> None:
    text = to_json(bound)
    [low, high] = between([text])
    assert (low, high) == (IdRange(None, text), IdRange(text, None))
    [compared] = high.query["$expr"]["$and"]
    assert to_json(compared["$gte"][1]["$literal"]) == text
    assert to_json(from_json(text)) == text


def test_one_range_asks_for_everything() -> None:
    assert [ids.query for ids in between([])] == [{}]
