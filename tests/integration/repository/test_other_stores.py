"""Stores that lack something, or repeat themselves: as other compatibles than the gateway of the tests behave."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup_playbook.core.errors import RepositoryError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.repository import versions as versions_module
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.listing import LISTED
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.small_objects import SmallObjects
from backup_playbook.repository.store import ObjectStore, StoreOptions
from backup_playbook.repository.upload import upload
from backup_playbook.repository.versions import Version, delete_versions, list_versions
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.integration.repository.conftest import MakeStore
from tests.support.bytes_engine import BytesEngine
from tests.support.s3_proxy import Fault, Request, S3Proxy

PART = 5 << 20


def test_store_without_delete_objects(store: ObjectStore, s3: S3Gateway, proxy: S3Proxy) -> None:
    s3.create_bucket(store.bucket, versions=True)
    proxy.reset(lambda request: Fault(400, "InvalidArgument") if "delete" in request.query else None)
    keys = [f"x{number}" for number in range(30)]
    for key in keys:
        store.put(key, b"")
    assert store.delete([*keys, "was-never-there"]) == 31
    assert not list(store.list(""))
    assert len([request for request in proxy.requests if "delete" in request.query]) == 1, "it is asked once"
    listed = [Version(item.path, item.version) for item in list_versions(store, "")]
    assert delete_versions(store, listed) == len(listed)
    assert not list(list_versions(store, ""))


def test_what_may_not_be_deleted_one_by_one_is_named(store: ObjectStore, proxy: S3Proxy) -> None:
    def decide(request: Request) -> Fault | None:
        if "delete" in request.query:
            return Fault(501, "NotImplemented")
        return Fault(403, "AccessDenied") if request.method == "DELETE" else None

    proxy.reset(decide)
    with pytest.raises(RepositoryError, match=r"2 of 2 objects .* first .*x: AccessDenied"):
        store.delete(["x", "y"])


def test_encryption_is_asked_for_on_every_path(make_store: MakeStore, bucket: Bucket, proxy: S3Proxy) -> None:
    def decide(request: Request) -> Fault | None:
        if request.headers.get("x-amz-server-side-encryption") == "aws:kms" and "key-7" in request.headers.get(
            "x-amz-server-side-encryption-aws-kms-key-id", ""
        ):
            return None
        creates = "uploads" in request.query or (request.method == "PUT" and "partNumber" not in request.query)
        return Fault(403, "AccessDenied") if creates else None

    proxy.reset(decide)
    options = StoreOptions(server_side_encryption="aws:kms", kms_key_id="key-7")
    store = make_store(bucket.name, options=options)
    upload(store, "objects/small", [b"x"], tags={"backup-tier": "daily"})
    upload(store, "objects/large", [bytes(PART + 1)], first_part=PART)
    store.put_once("catalog/x", b"{}")
    SmallObjects(store).put("current/x", b"x")
    assert len(list(store.list(""))) == 4
    with pytest.raises(RepositoryError, match="AccessDenied") as caught:
        make_store(bucket.name).put("x", b"")
    assert "`server_side_encryption`" in caught.value.remedy


def test_version_that_a_page_repeats_comes_once(
    store: ObjectStore, s3: S3Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.create_bucket(store.bucket, versions=True)
    for key in ("a", "b", "b", "c"):
        store.put(key, b"")
    store.delete(["b"])
    whole = list(list_versions(store, ""))
    raw = [item._replace(path=store.path(item.path)) for item in whole]
    for cut in range(1, len(raw)):
        pages = [{LISTED: raw[:cut]}, {LISTED: raw[cut - 1 :]}]
        monkeypatch.setattr(store.client, "get_paginator", lambda _, pages=pages: Pages(pages))
        assert list(versions_module.list_versions(store, "")) == whole
    assert len(whole) == 5


class Pages:
    def __init__(self, pages: list[object]) -> None:
        self.paginate = lambda **_: pages


def test_store_without_checksums_of_its_own_rejects_nothing(make_store: MakeStore, bucket: Bucket) -> None:
    store, engine = make_store(bucket.name, options=StoreOptions(checksums=False)), BytesEngine({"x": b"data"})
    writer = BackupWriter(store, "shop", "20261123T020004Z-7f3a91", Codec())
    manifest = take_backup(engine, engine, writer, Cancellation())
    catalog = Catalog(store)
    with pytest.raises(RepositoryError, match="no checksum in the object store"):
        Verification(catalog, engine, Codec(), Depth.CHECKSUMS).run("shop", manifest.backup_id, Cancellation())
    assert not catalog.entry("shop", manifest.backup_id).findings(EvidenceKind.REJECTED)


def test_a_store_that_refuses_two_requests_in_five_is_enough(store: ObjectStore, proxy: S3Proxy) -> None:
    dice = random.Random(7)
    # drawn for each key beforehand: with 300 of them, one in a few hundred runs would draw 12 refusals in a row
    left = {f"x{number}": next(n for n in range(9) if n == 8 or dice.random() >= 0.4) for number in range(300)}
    lock = threading.Lock()

    def refuse(request: Request) -> Fault | None:
        name = request.path.partition("?")[0].rpartition("/")[2]
        with lock:
            left[name] = left.get(name, 0) - 1
            return Fault(503, "SlowDown") if left[name] >= 0 else None

    proxy.reset(refuse)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: store.put(f"x{number}", b"data"), range(300)))
    proxy.reset()
    assert len(list(store.list("x"))) == 300
