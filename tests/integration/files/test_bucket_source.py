"""What is special about a bucket as a source: objects that cannot be read, names, and what goes with a content."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backup_playbook.core.errors import SourceError
from backup_playbook.core.tree import Outcome
from backup_playbook.engines.files import bucket
from backup_playbook.engines.files.bucket import BucketTree
from backup_playbook.engines.files.source import FilesSource
from backup_playbook.repository.client import client_config
from backup_playbook.repository.listing import ListedVersion
from backup_playbook.repository.store import ObjectStore
from tests.integration.files.lab import FilesLab


@pytest.fixture
def live(lab: FilesLab) -> ObjectStore:
    """Another prefix, with a client of its own."""
    return ObjectStore(lab.s3.client(client_config(4)), bucket=lab.store.bucket, prefix="live")


@pytest.fixture
def source(live: ObjectStore) -> FilesSource:
    return FilesSource(BucketTree(live))


def refusing(live: ObjectStore, code: str, *keys: str) -> None:
    """Of a key of KMS, of an archive, of SSE-C: the listing has the object, its reading is refused."""

    def refuse(params: dict[str, Any], **_: object) -> None:
        if not keys or params["Key"].rpartition("/")[2] in keys:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")

    live.client.meta.events.register("before-parameter-build.s3.GetObject", refuse)


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState", "InvalidRequest", "KMS.DisabledException"])
def test_one_object_that_cannot_be_read_stops_no_other(
    lab: FilesLab, live: ObjectStore, source: FilesSource, code: str
) -> None:
    for name in "abcde":
        live.put(name, name.encode())
    live.put("large", bytes(5 << 20))
    refusing(live, code, "b", "large")
    manifest = lab.backup(source)
    assert (manifest.details["unreadable"], len(lab.current())) == (2, 4)
    for path in (b"b", b"large"):
        entry = lab.tree(manifest)[path]
        assert (entry.outcome, code in entry.reason) == (Outcome.UNREADABLE, True)
    lab.verify(manifest)


def test_a_bucket_that_may_not_be_read_is_a_loss(lab: FilesLab, live: ObjectStore, source: FilesSource) -> None:
    for name in "abc":
        live.put(name, b"1")
    refusing(live, "AccessDenied")
    with pytest.raises(SourceError, match="3 cannot be read"):
        lab.backup(source)


def test_the_remedy_names_the_rights_to_the_source(lab: FilesLab, live: ObjectStore, source: FilesSource) -> None:
    live.put("a", b"1")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectVersions")

    live.client.meta.events.register("before-parameter-build.s3.ListObjectVersions", refuse)
    with pytest.raises(SourceError, match="AccessDenied") as caught:
        lab.backup(source)
    assert "s3:GetObjectVersion" in caught.value.remedy
    assert "PutObject" not in caught.value.remedy


Change = Callable[[ListedVersion], ListedVersion]


def listing_with(monkeypatch: pytest.MonkeyPatch, *more: str, change: Change = lambda one: one) -> None:
    real = bucket.list_versions

    def listed(store: ObjectStore, prefix: str) -> Iterator[ListedVersion]:
        """The embedded store is a file system, and has neither such keys nor archives; S3 has."""
        odd = [ListedVersion(key, "v1", 3, datetime.now(UTC), True, False) for key in more]
        return iter(sorted([*map(change, real(store, prefix)), *odd], key=lambda item: item.path.encode()))

    monkeypatch.setattr(bucket, "list_versions", listed)


def test_what_was_archived_after_it_was_stored_is_no_loss(
    lab: FilesLab, live: ObjectStore, source: FilesSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        live.put(name, b"1")
    lab.backup(source)
    live.put("new", b"2")
    refusing(live, "InvalidObjectState")
    listing_with(monkeypatch, change=lambda one: one._replace(storage_class="DEEP_ARCHIVE"))
    for rehash_every in (30, 1):
        manifest = lab.backup(FilesSource(BucketTree(live), lab.source(rehash_every=rehash_every).options))
        assert manifest.details["outcomes"] == {"unreadable": 1}
        assert "request its retrieval" in lab.tree(manifest)[b"new"].reason
        assert len(lab.current()) == 3
        lab.verify(manifest)


def test_keys_beside_which_no_directory_can_have_others_are_stored_and_said(
    lab: FilesLab, live: ObjectStore, source: FilesSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, usual = "x" * 300, f"{'y' * 200}/" * 4 + "\u00a0\u202f tab\t"
    odd = ["a", "a-", "a/b", "d/", long, usual]
    listing_with(monkeypatch, *odd, "d/x")
    monkeypatch.setattr(live, "read_with_headers", lambda *_: iter([b"123"]))
    manifest = lab.backup(source)
    tree = lab.tree(manifest)
    assert all(entry.stored for entry in tree.values())
    said = {entry.name: entry.reason for entry in tree.values() if entry.outcome == Outcome.ONLY_IN_BUCKETS}
    assert set(said) == {"a/b", "d/", long}
    assert manifest.details["outcomes"] == {"only in buckets": 3}
    lab.verify(manifest)


def test_headers_metadata_and_tags_are_kept(lab: FilesLab, live: ObjectStore, source: FilesSource) -> None:
    headers: dict[str, Any] = {
        "ContentType": "text/css", "CacheControl": "max-age=60", "ContentEncoding": "gzip",
        "Metadata": {"owner": "shop"}, "Tagging": "team=web&note=a+%2B+b",
    }  # fmt: skip
    live.client.put_object(Bucket=live.bucket, Key=live.path("site.css"), Body=b"a", **headers)
    live.client.put_object(Bucket=live.bucket, Key=live.path("large"), Body=bytes(5 << 20), **headers)
    tree = lab.tree(lab.backup(source))
    for path in (b"site.css", b"large"):
        found = dict(tree[path].object_headers)
        assert sorted(str(found.pop("Tagging")).split("&")) == sorted(headers["Tagging"].split("&"))
        assert found == {name: value for name, value in headers.items() if name != "Tagging"}
    assert lab.tree(lab.backup(source)) == tree
