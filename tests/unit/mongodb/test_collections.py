import re
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


# not the names of types: extended JSON cannot tell {"$oid": ...} from an ObjectId
_WORDS = ("$regex", "$options", "$ne", "$nin", "$type", "$exists", "$ref", "$id", "$db", "$expr", "a")
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(allow_nan=False), st.text(max_size=5), st.binary(max_size=5), st.builds(ObjectId), st.just(MinKey()),
    st.just(MaxKey()), st.builds(Timestamp, st.integers(0, 9), st.integers(0, 9)), st.just(Decimal128("1E+3")),
    st.builds(Regex, st.text(alphabet="a^.$", max_size=4), st.sampled_from(["", "i", "im"])),
    st.just(Code("x", {"a": 1})), st.builds(DatetimeMS, st.integers(-(2**62), 2**62)),
    st.builds(Binary, st.binary(max_size=4), st.just(5)),
)  # fmt: skip
_NESTED = st.recursive(
    _VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4)
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(("validator", "pipeline", "options")), _NESTED, max_size=3))
def test_what_is_read_has_the_bytes_of_what_was_written(value: dict[str, Any]) -> None:
    assert bson.encode(from_json(to_json(value))) == bson.encode(value)


@pytest.mark.parametrize(
    "condition",
    [
        {"email": {"$regex": "@example\\.com$", "$nin": ["root@example.com"]}},
        {"email": {"$type": "string", "$regex": "@"}},
        {"name": {"$regex": "^a", "$exists": True, "$options": "i"}},
        {"name": {"$regex": Regex("^a", "i"), "$ne": "abc"}},
        {"user": {"$ref": "users", "$id": 7, "more": 1}},
        {"user": DBRef("users", 7)},
    ],
)
def test_conditions_keep_all_that_they_ask_for(condition: dict[str, Any]) -> None:
    assert bson.encode(from_json(to_json(condition))) == bson.encode(condition)


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
