"""Streams into objects, against a real S3 server: every size around the borders, and nothing left of a failure."""

import hashlib
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository import upload as module
from backup_playbook.repository.store import ObjectStore, StoreOptions
from backup_playbook.repository.upload import server_side_copy, upload
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.integration.repository.conftest import MakeStore
from tests.support.s3_proxy import Fault, Request, S3Proxy

MIB = 1 << 20
PART = 5 * MIB
DATA = os.urandom(3 * PART + 1)


def blocks(size: int, step: int = 1_000_003) -> Iterator[bytes]:
    for start in range(0, size, step):
        yield DATA[start : min(size, start + step)]


def multiparts(store: ObjectStore) -> list[str]:
    return [item.key for item in store.unfinished_uploads("")]


SIZES = [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 1]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_arrives_with_the_checksum_that_the_store_reports(store: ObjectStore, size: int) -> None:
    stored = upload(store, "objects/x", blocks(size), first_part=PART)
    assert (stored.bytes, stored.sha256) == (size, hashlib.sha256(DATA[:size]).hexdigest())
    assert store.get("objects/x") == DATA[:size]
    assert store.stored_checksum("objects/x") == (size, stored.store_checksum)
    assert bool(stored.store_checksum and "-" in stored.store_checksum) == (size > PART)
    assert not multiparts(store)


def test_blocks_larger_than_several_parts(store: ObjectStore) -> None:
    upload(store, "x", [DATA], first_part=PART)
    assert store.get("x") == DATA


@pytest.mark.parametrize("size", [1000, PART])
def test_copy_by_the_server_keeps_the_checksum_and_sets_tags(
    store: ObjectStore, make_store: MakeStore, second_bucket: str, size: int
) -> None:
    target = make_store(second_bucket)
    stored = upload(store, "x", blocks(size), first_part=PART, tags={"tier": "daily"})
    server_side_copy(store, target, "x", size=size, first_part=PART, tags={"tier": "monthly"})
    assert target.get("x") == DATA[:size]
    assert target.stored_checksum("x") == (size, stored.store_checksum)
    assert tags_of(target, "x") == {"tier": "monthly"}


def tags_of(store: ObjectStore, key: str) -> dict[str, str]:
    found = store.client.get_object_tagging(Bucket=store.bucket, Key=store.path(key))["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


@pytest.mark.parametrize("size", [10, PART + 1])
def test_tags_and_storage_class_are_sent(make_store: MakeStore, bucket: Bucket, proxy: S3Proxy, size: int) -> None:
    store = make_store(bucket.name, options=StoreOptions(storage_class="STANDARD_IA"))
    upload(store, "x", blocks(size), first_part=PART, tags={"backup-tier": "daily", "a b": "c=d+e:/@"})
    first = next(item for item in proxy.requests if item.method in ("PUT", "POST"))
    assert first.headers["x-amz-storage-class"] == "STANDARD_IA"
    assert tags_of(store, "x") == {"backup-tier": "daily", "a b": "c=d+e:/@"}


@pytest.mark.parametrize("good", [0, 10, PART + 10, 2 * PART + 10])
def test_failing_stream_leaves_nothing(store: ObjectStore, good: int) -> None:
    closed = threading.Event()

    def broken() -> Iterator[bytes]:
        try:
            yield from blocks(good)
            raise OSError("the disk is on fire")
        finally:
            closed.set()

    with pytest.raises(OSError, match="on fire"):
        upload(store, "x", broken(), first_part=PART)
    assert not list(store.list(""))
    assert not multiparts(store)
    assert closed.is_set()


def test_failing_store_ends_the_stream_at_once(store: ObjectStore, proxy: S3Proxy) -> None:
    closed = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield DATA[:MIB]
        finally:
            closed.set()

    proxy.reset(lambda request: Fault(400, "Unhappy") if "partNumber" in request.query else None)
    with pytest.raises(RepositoryError, match=r"Cannot upload part 1 of s3://.*/x: the object store answered Unhappy"):
        upload(store, "x", endless(), first_part=PART)
    assert closed.is_set()
    assert not multiparts(store)


def test_more_parts_than_s3_allows(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PARTS_ALLOWED", 2)
    with pytest.raises(RepositoryError, match="more than 2 parts"):
        upload(store, "x", blocks(3 * PART + 1), first_part=PART)
    assert not multiparts(store)


def test_store_without_checksums_gets_none(make_store: MakeStore, bucket: Bucket, proxy: S3Proxy) -> None:
    store = make_store(bucket.name, options=StoreOptions(checksums=False))
    assert upload(store, "x", blocks(PART + 1), first_part=PART).store_checksum is None
    store.put("y", b"small")
    assert not [name for item in proxy.requests for name in item.headers if "checksum" in name]


def test_store_without_tags_gets_none(make_store: MakeStore, bucket: Bucket, proxy: S3Proxy) -> None:
    store = make_store(bucket.name, options=StoreOptions(object_tags=False))
    upload(store, "x", blocks(10), tags={"backup-tier": "daily"})
    store.set_tags("x", {"backup-tier": "weekly"})
    assert not [item for item in proxy.requests if "tagging" in item.query or "x-amz-tagging" in item.headers]


def store_both(store: ObjectStore) -> None:
    upload(store, "x", [b"data"], tags={"backup-tier": "daily"})
    store.put_once("y", b"data")


def rejects(header: str, status: int, code: str) -> object:
    def decide(request: Request) -> Fault | None:
        return Fault(status, code, f"{header} is not supported") if header in request.headers else None

    return decide


@pytest.mark.parametrize(
    ("header", "status", "code", "option"),
    [
        ("x-amz-tagging", 501, "NotImplemented", "object_tags: false"),
        ("x-amz-tagging", 400, "InvalidArgument", "object_tags: false"),
        ("x-amz-checksum-sha256", 400, "InvalidRequest", "checksums: false"),
        ("if-none-match", 501, "NotImplemented", "conditional_writes: false"),
    ],
)
def test_missing_feature_says_what_to_change(
    store: ObjectStore, proxy: S3Proxy, header: str, status: int, code: str, option: str
) -> None:
    proxy.reset(rejects(header, status, code))  # type: ignore[arg-type]
    with pytest.raises(RepositoryError, match=f"{code}.*{header} is not supported") as caught:
        store_both(store)
    assert option in caught.value.remedy
    assert "repositories.yaml" in caught.value.remedy


def test_lost_answer_of_a_finished_upload_is_no_failure(store: ObjectStore, proxy: S3Proxy) -> None:
    lost = itertools.count()

    def decide(request: Request) -> Fault | None:
        finishing = request.method == "POST" and "uploadId" in request.query
        return Fault(processed=True) if finishing and next(lost) == 0 else None

    proxy.reset(decide)
    upload(store, "x", blocks(PART + 1), first_part=PART)
    assert store.get("x") == DATA[: PART + 1]


def test_upload_that_someone_aborted_is_a_failure(store: ObjectStore, proxy: S3Proxy) -> None:
    def aborted() -> Iterator[bytes]:
        yield DATA[: PART + 1]
        while not any("partNumber" in item.query for item in proxy.requests):
            pass
        for item in list(store.unfinished_uploads("")):
            store.abort_upload(item.key, item.upload_id)

    with pytest.raises(RepositoryError, match="NoSuchUpload"):
        upload(store, "x", aborted(), first_part=PART)
    assert not store.exists("x")


def test_memory_does_not_grow_with_the_stream(s3: S3Gateway, bucket: Bucket) -> None:
    """In a process of its own, so that the peak is that of one upload."""
    script = """
import resource, sys
import boto3
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.upload import upload
store = ObjectStore(boto3.client("s3", config=client_config(1)), bucket=sys.argv[1], prefix="p")
upload(store, "warm", [bytes(1 << 20)] * 40)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
upload(store, "x", (bytes(1 << 20) for _ in range(200)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    answer = subprocess.run(
        [sys.executable, "-c", script, bucket.name],
        env={**os.environ, **s3.shell_environment()},
        capture_output=True,
        check=True,
        text=True,
    )
    assert int(answer.stdout) < 20, f"{answer.stdout} MB more for 160 MB more"
