"""Versions of objects, as a bucket that keeps them tells of them."""

import pytest

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.s3errors import is_missing
from backup_playbook.repository.small_objects import SmallObjects
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import (
    Version,
    copy_version,
    delete_versions,
    list_versions,
    require_versioning,
)
from embedded.s3 import S3Gateway


@pytest.fixture
def versioned(store: ObjectStore, s3: S3Gateway) -> ObjectStore:
    with pytest.raises(RepositoryError, match="versioning of the bucket"):
        require_versioning(store)
    s3.create_bucket(store.bucket, versions=True)
    require_versioning(store)
    return store


def test_every_version_is_listed_read_copied_and_removed(versioned: ObjectStore) -> None:
    first, second = versioned.put("a/x", b"1").version, versioned.put("a/x", b"22").version
    quick = SmallObjects(versioned)
    other = quick.put("a/y é+ ", b"333")
    assert len({first, second, other}) == 3
    assert all((first, second, other)), "a bucket that keeps versions names each"
    versioned.delete(["a/x"])
    assert [(item.path, item.bytes, item.deleted) for item in list_versions(versioned, "a/")] == [
        ("a/x", 0, True), ("a/x", 2, False), ("a/x", 1, False), ("a/y é+ ", 3, False),
    ]  # fmt: skip
    assert b"".join(versioned.read("a/x", first)) == b"1"
    assert b"".join(quick.read("a/x", second, 2)) == b"22"
    copied = copy_version(versioned, Version("a/x", first), "b/z")
    assert b"".join(versioned.read("b/z", copied)) == b"1"
    assert delete_versions(versioned, [Version("a/x", first)]) == 1
    with pytest.raises(RepositoryError) as gone:
        b"".join(versioned.read("a/x", first))
    assert is_missing(gone.value)
    delete_versions(versioned, [Version(item.path, item.version) for item in list_versions(versioned, "")])
    assert not list(list_versions(versioned, ""))


def test_pages_of_versions(versioned: ObjectStore) -> None:
    """versitygw 1.7 repeats the last one of a page."""
    keys = [f"k{number:04}" for number in range(1001)]
    quick = SmallObjects(versioned)
    for key in keys:
        quick.put(key, b"")
    assert [item.path for item in list_versions(versioned, "")] == keys
