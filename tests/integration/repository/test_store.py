"""The object store against a real S3 server, with cuts, races and many keys."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.config import Config

from backup_playbook.core.errors import AlreadySealedError, RepositoryError
from backup_playbook.repository.client import BUSY_ATTEMPTS, client_config
from backup_playbook.repository.store import ObjectStore, StoreOptions
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.integration.repository.conftest import MakeStore
from tests.support.s3_proxy import Fault, Request, S3Proxy, from_on

MIB = 1 << 20
DATA = os.urandom(5 * MIB + 7)


# reading


@pytest.mark.faults
def test_read_goes_on_where_it_was_cut(store: ObjectStore, proxy: S3Proxy) -> None:
    store.put("x", DATA)
    # every connection carries 700,000 bytes and dies: eight of them for the whole object
    proxy.reset(lambda request: Fault(body_bytes=700_000) if request.method == "GET" else None)
    assert b"".join(store.read("x")) == DATA
    ranges = [item.headers.get("range") for item in proxy.requests]
    assert ranges[:3] == [None, "bytes=700000-", "bytes=1400000-"]


@pytest.mark.faults
def test_read_that_gets_no_further_gives_up(store: ObjectStore, proxy: S3Proxy) -> None:
    store.put("x", DATA)
    proxy.reset(
        lambda request: Fault(body_bytes=0 if "range" in request.headers else 100) if request.method == "GET" else None
    )
    with pytest.raises(RepositoryError, match="no answer, or half of one"):
        list(store.read("x"))
    assert len(proxy.requests) == 6


@pytest.mark.faults
def test_read_never_mixes_two_versions_of_an_object(store: ObjectStore, proxy: S3Proxy) -> None:
    store.put("x", DATA)
    proxy.reset(lambda request: Fault(body_bytes=2 * MIB) if request.number == 1 else None)
    stream = store.read("x")
    next(stream)
    store.put("x", bytes(len(DATA)))
    with pytest.raises(RepositoryError, match="PreconditionFailed") as caught:
        list(stream)
    assert "replaced" in caught.value.remedy


def test_read_that_is_not_finished_returns_its_connection(store: ObjectStore) -> None:
    store.put("x", DATA)
    for _ in range(30):
        stream = store.read("x")
        next(stream)
        stream.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["x", "with space", "ünï/cødé", "a+b&c=d%20e", "quote'\"`$(id)"])
def test_keys_are_taken_as_they_are(store: ObjectStore, key: str) -> None:
    store.put(key, b"data")
    assert store.get(key) == b"data"
    assert [item.key for item in store.list("")] == [key]
    assert store.delete([key]) == 1
    assert not store.exists(key)


def test_missing_object(store: ObjectStore) -> None:
    with pytest.raises(RepositoryError, match="NoSuchKey"):
        store.get("nothing")
    assert not store.exists("nothing")
    assert store.delete(["nothing"]) == 1


@pytest.mark.parametrize("key", ["/etc/passwd", "../other", "a/../../b", "..", "a/.."])
def test_keys_cannot_leave_the_prefix(store: ObjectStore, key: str) -> None:
    for action in (store.get, store.exists, store.delete, lambda key: store.put(key, b"")):
        with pytest.raises(ValueError, match="leaves the prefix"):
            action([key] if action == store.delete else key)  # type: ignore[operator,arg-type]


def test_neighbours_with_the_same_beginning_are_not_ours(make_store: MakeStore, bucket: Bucket) -> None:
    ours, neighbour = make_store(bucket.name, prefix="backups"), make_store(bucket.name, prefix="backups-2")
    neighbour.put("x", b"theirs")
    assert not list(ours.list(""))


# listings


def test_listing_of_several_pages(store: ObjectStore, s3: S3Gateway) -> None:
    folder = s3.buckets / store.bucket / "playbook" / "many"
    folder.mkdir(parents=True)
    for number in range(2345):
        (folder / f"{number:05d}").write_bytes(b"xy")
    listed = list(store.list("many/"))
    assert [item.key for item in listed] == [f"many/{number:05d}" for number in range(2345)]
    assert {item.bytes for item in listed} == {2}
    assert all(item.modified.tzinfo for item in listed)
    assert [item.key for item in store.list("many/", after="many/01999", before="many/02002")] == [
        "many/02000",
        "many/02001",
    ]
    assert list(store.folders("")) == ["many"]
    # S3 deletes at most 1,000 in a request
    assert store.delete(item.key for item in listed) == 2345
    assert not list(store.list(""))


def test_what_answers_is_no_object_store(store: ObjectStore, proxy: S3Proxy) -> None:
    proxy.reset(from_on(1, Fault(200, body="<html><body>Welcome to nginx!</body></html>")))
    with pytest.raises(RepositoryError, match="is no object store") as caught:
        list(store.list(""))
    assert "endpoint_url" in caught.value.remedy


@pytest.mark.faults
def test_listing_that_was_cut_is_asked_for_again(store: ObjectStore, proxy: S3Proxy) -> None:
    store.put("x", b"")
    proxy.reset(lambda request: Fault(200, body="<ListBucketResult><Contents><Key>x") if request.number == 1 else None)
    assert [item.key for item in store.list("")] == ["x"]


def test_missing_bucket(make_store: MakeStore) -> None:
    with pytest.raises(RepositoryError, match="NoSuchBucket") as caught:
        make_store("no-such-bucket").check()
    assert "repositories.yaml" in caught.value.remedy


def test_wrong_secret(store: ObjectStore, s3: S3Gateway) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3.url,
        region_name=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key="wrong",
        config=client_config(1),
    )
    with pytest.raises(RepositoryError, match="SignatureDoesNotMatch") as caught:
        ObjectStore(client, bucket=store.bucket, prefix="p").check()
    assert "secret key" in caught.value.remedy


def test_server_that_is_down(make_store: MakeStore, bucket: Bucket, proxy: S3Proxy) -> None:
    store = make_store(bucket.name)
    proxy.__exit__(None, None, None)
    for action in (store.check, lambda: store.exists("x"), lambda: store.put("x", b"")):
        with pytest.raises(RepositoryError, match="no answer, or half of one, from the object store"):
            action()  # type: ignore[operator]


# writing once


def test_put_once_twice(store: ObjectStore) -> None:
    store.put_once("x", b"first")
    store.put_once("x", b"first")
    with pytest.raises(AlreadySealedError):
        store.put_once("x", b"second")
    assert store.get("x") == b"first"


@pytest.mark.faults
def test_put_once_race_has_one_winner(store: ObjectStore) -> None:
    for attempt in range(10):
        barrier = threading.Barrier(2)

        def write(body: bytes, key: str = f"x{attempt}", barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                store.put_once(key, body)
            except AlreadySealedError:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            won = list(threads.map(write, [b"one", b"two"]))
        assert sorted(won) == [False, True]
        assert store.get(f"x{attempt}") == (b"one" if won[0] else b"two")


@pytest.mark.faults
def test_put_once_whose_answer_was_lost_is_accepted(store: ObjectStore, proxy: S3Proxy) -> None:
    proxy.reset(lambda request: Fault(processed=True) if request.number == 1 else None)
    store.put_once("x", b"mine")
    assert [item.method for item in proxy.requests] == ["PUT", "PUT", "GET"]
    assert store.get("x") == b"mine"


def test_put_once_without_conditional_writes(make_store: MakeStore, bucket: Bucket, proxy: S3Proxy) -> None:
    store = make_store(bucket.name, options=StoreOptions(conditional_writes=False))
    store.put_once("x", b"first")
    store.put_once("x", b"first")
    with pytest.raises(AlreadySealedError):
        store.put_once("x", b"second")
    assert not any("if-none-match" in item.headers for item in proxy.requests)


# deleting, uploads, retries


def test_delete_reports_what_was_refused(store: ObjectStore, proxy: S3Proxy) -> None:
    def refuse(request: Request) -> Fault | None:
        return Fault(403, "AccessDenied", "no s3:DeleteObject") if "delete" in request.query else None

    store.put("x", b"")
    proxy.reset(refuse)
    with pytest.raises(RepositoryError, match="AccessDenied") as caught:
        store.delete(["x"])
    assert "s3:DeleteObject" in caught.value.remedy


def test_upload_that_ends_while_it_is_looked_at(store: ObjectStore, proxy: S3Proxy) -> None:
    where = {"Bucket": store.bucket, "Key": store.path("x")}
    store.client.create_multipart_upload(**where)  # type: ignore[arg-type]
    proxy.reset(lambda request: Fault(404, "NoSuchUpload") if "uploadId" in request.query else None)
    (found,) = store.unfinished_uploads("")
    assert found.key == "x"
    proxy.reset()
    store.abort_upload("x", found.upload_id)
    store.abort_upload("x", found.upload_id)
    assert not list(store.unfinished_uploads(""))


def test_a_store_that_keeps_failing_is_asked_a_few_times(store: ObjectStore, proxy: S3Proxy) -> None:
    proxy.reset(from_on(1, Fault(503, "SlowDown", "Please reduce your request rate.")))
    with pytest.raises(RepositoryError, match=r"SlowDown \(Please reduce your request rate\.\), after 11 retries"):
        store.check()
    assert len(proxy.requests) == BUSY_ATTEMPTS


def test_a_store_that_is_slow_is_given_up(make_store: MakeStore, bucket: Bucket, proxy: S3Proxy) -> None:
    config = Config(read_timeout=0.2, retries={"total_max_attempts": 2, "mode": "standard"})
    store = make_store(bucket.name, config=config)
    proxy.reset(from_on(1, Fault(500, delay=0.5)))
    with pytest.raises(RepositoryError, match="no answer, or half of one, from the object store"):
        store.check()
