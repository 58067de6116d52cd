"""Models of a manifest's details: they change nothing of what is sealed, and say what they lack."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backup_playbook.core.details import Details, MomentDetails, TreeDetails
from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest
from tests.support import backups


class ShelfDetails(Details):
    books: int
    lent: tuple[str, ...] = ()


def manifest(**details: Any) -> Manifest:
    taken = backups.manifest(datetime(2026, 11, 23, 2, tzinfo=UTC), {})
    return taken.model_copy(update={"details": details}).sealed()


def test_reading_changes_nothing_that_is_sealed() -> None:
    one = manifest(books=3, shelf="a key of another release")
    before = one.to_json()
    assert ShelfDetails.of(one) == ShelfDetails(books=3)
    assert ShelfDetails.of(one) is ShelfDetails.of(one)
    assert (one.to_json(), one.digest()) == (before, one.seal)
    assert Manifest.from_json(before, "here") == one


def test_changed_copy_of_a_manifest_is_read_anew() -> None:
    one = manifest(books=3)
    assert ShelfDetails.of(one).books == 3
    other = one.model_copy(update={"details": {"books": 4}})
    assert (ShelfDetails.of(other).books, ShelfDetails.of(one).books) == (4, 3)


def test_details_that_lack_something_are_named() -> None:
    with pytest.raises(VerificationError, match=r"The details of shop .* are not those of this release: books: Field"):
        ShelfDetails.of(manifest())


def test_what_is_written_is_what_was_set() -> None:
    assert ShelfDetails(books=3, lent=("a", "b")).written() == {"books": 3, "lent": ["a", "b"]}
    assert ShelfDetails(books=3).written() == {"books": 3}


def test_what_core_asks_of_any_details() -> None:
    assert manifest().origin_seal == manifest().seal
    assert manifest(copy_of="of another").origin_seal == "of another"
    assert TreeDetails.of(manifest()).files is None
    assert MomentDetails.of(manifest()).of_one_moment
    assert not MomentDetails.of(manifest(consistency="per collection")).of_one_moment
    assert not MomentDetails.of(manifest(consistency="snapshot", unsnapshotted=["log"])).of_one_moment
