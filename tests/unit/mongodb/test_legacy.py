"""What older servers stored is restored in the form of today, and no difference; what really differs is one."""

from typing import Any

import pytest
from bson import Decimal128, Int64

from backup_playbook.engines.mongodb.collections import NEVER, Collection
from backup_playbook.engines.mongodb.legacy import not_kept, same_index, same_options, up_to_date


def index(**more: Any) -> dict[str, Any]:
    return {"v": 2, "key": {"a": 1}, "name": "a_1", **more}


def of(*indexes: dict[str, Any], **options: Any) -> Collection:
    return Collection("people", "collection", options, indexes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (index(), index(collation={"locale": "simple"})),
        (index(), index(key={"a": 1.0})),
        (index(key={"a": True}), index()),
        (index(key={"a": ""}), index()),
        (index(key={"a": 0}), index()),
        (index(v=0), index()),
        (index(safe=None, w=1, dropDups=True), index()),
        (index(key={"_id": 1}, name="_id_", v=1), index(key={"_id": 1}, name="_id_")),
        (index(key={"at": "2dsphere"}), index(key={"at": "2dsphere"}, **{"2dsphereIndexVersion": 3})),
        (index(key={"_fts": "text", "_ftsx": 1}), index(key={"_fts": "text", "_ftsx": 1}, textIndexVersion=3)),
        (index(expireAfterSeconds=float("nan")), index(expireAfterSeconds=NEVER)),
    ],
)
def test_what_means_the_same_is_equal(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert same_index(*up_to_date(of(old)).indexes, new)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (index(), index(key={"a": -1})),
        (index(key={"a": -1.0}), index()),
        (index(key={"a": 1, "b": 1}), index(key={"b": 1, "a": 1})),
        (index(key={"a": "hashed"}), index()),
        (index(unique=True), index()),
        (index(), index(unique=True)),
        (index(), index(sparse=True)),
        (index(collation={"locale": "de"}), index()),
        (index(v=1), index(v=2)),
        (index(partialFilterExpression={"a": {"$regex": "^a", "$exists": True}}),
         index(partialFilterExpression={"a": {"$regex": "^a"}})),
        (index(key={"at": "2dsphere"}, **{"2dsphereIndexVersion": 2}),
         index(key={"at": "2dsphere"}, **{"2dsphereIndexVersion": 3})),
    ],
)  # fmt: skip
def test_what_does_something_else_differs(expected: dict[str, Any], found: dict[str, Any]) -> None:
    assert not same_index(*up_to_date(of(expected)).indexes, found)


def test_options_that_servers_have_given_up_are_no_difference_and_others_are() -> None:
    assert same_options({"autoIndexId": True, "flags": 1, "capped": True}, {"capped": True})
    assert same_options({"recordPreImages": True}, {"recordPreImages": True})
    assert not same_options({}, {"autoIndexId": True})
    assert not same_options({"capped": True}, {})
    assert not same_options({"validator": {"a": 1, "b": 1}}, {"validator": {"b": 1, "a": 1}})


@pytest.mark.parametrize(
    ("seconds", "key", "made"),
    [
        (60, {"at": 1}, 60),
        (60.5, {"at": 1}, 60),
        (Int64(2**40), {"at": 1}, NEVER),
        (float("nan"), {"at": 1}, NEVER),
        (-1, {"at": 1}, None),
        ("60", {"at": 1}, None),
        (60, {"at": 1, "kind": 1}, None),
        (60, {"_id": 1}, None),
    ],
)
def test_what_expires_in_a_copy_and_what_is_said(seconds: Any, key: dict[str, Any], made: int | None) -> None:
    old = of(index(key=key, expireAfterSeconds=seconds))
    new = up_to_date(old)
    assert new.indexes[0].get("expireAfterSeconds") == made
    said = list(not_kept(old, new))
    assert len(said) == (made != seconds)
    assert all("the expiry after" in words for words in said)


def test_what_is_lost_is_named() -> None:
    old = of(index(safe=None, ns="shop.people"), autoIndexId=False)
    assert list(not_kept(old, of(index()))) == [
        "of people the options autoIndexId, which its server does not know any more",
        "of the index a_1 of people the options safe, which mean nothing",
    ]
    assert list(not_kept(old, old)) == []


def test_a_kind_of_index_that_no_server_makes_any_more_is_named() -> None:
    old = of(index(key={"at": "geoHaystack", "kind": 1}), index())
    assert [one["key"] for one in up_to_date(old).indexes] == [{"a": 1}]
    assert list(not_kept(old, of(index()))) == ["the index a_1 of people: no server has the kind geoHaystack since 5.0"]


def test_a_descending_decimal_key_stays() -> None:
    assert up_to_date(of(index(key={"a": Decimal128("-1")}))).indexes[0]["key"] == {"a": Decimal128("-1")}
