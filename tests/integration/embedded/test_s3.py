"""The embedded S3 server, and the proxy that puts faults in front of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from embedded.errors import EmbeddedError
from embedded.s3 import S3Gateway
from embedded.toxiproxy import Proxy, Toxiproxy
from tests.conftest import Bucket

IMPATIENT = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    server = Toxiproxy(tmp_path_factory.mktemp("toxiproxy"))
    yield server.start()
    server.stop()


@pytest.fixture
def proxy(toxiproxy: Toxiproxy, s3: S3Gateway) -> Proxy:
    return toxiproxy.proxy("s3", s3.port)


def list_buckets_through(proxy: Proxy, s3: S3Gateway) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    s3.client(IMPATIENT, endpoint_url=proxy.url).list_buckets()
    return time.monotonic() - began


def test_refuses_to_write_twice_where_only_one_may_win(bucket: Bucket) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="manifest.json", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        bucket.client.put_object(Bucket=bucket.name, Key="manifest.json", Body=b"2", IfNoneMatch="*")


def test_refuses_bytes_that_do_not_match_their_checksum(bucket: Bucket) -> None:
    with pytest.raises(ClientError, match="BadDigest"):
        bucket.client.put_object(Bucket=bucket.name, Key="k", Body=b"1", ChecksumSHA256="A" * 43 + "=")


def test_objects_are_files_that_tests_can_damage(bucket: Bucket, s3: S3Gateway) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="a/b", Body=b"good")
    (s3.buckets / bucket.name / "a" / "b").write_bytes(b"evil")
    client = s3.client(Config(response_checksum_validation="when_required"))
    assert client.get_object(Bucket=bucket.name, Key="a/b")["Body"].read() == b"evil"


def test_killed_gateway_keeps_address_credentials_and_objects(tmp_path: Path) -> None:
    gateway = S3Gateway(tmp_path).start()
    try:
        client = gateway.client()
        gateway.create_bucket("kept")
        client.put_object(Bucket="kept", Key="k", Body=b"1")
        gateway.kill()
        assert not gateway.running
        S3Gateway(tmp_path).start()
        assert client.get_object(Bucket="kept", Key="k")["Body"].read() == b"1"
    finally:
        gateway.stop()


def test_state_that_a_crash_damaged_does_not_stop_a_start(tmp_path: Path) -> None:
    gateway = S3Gateway(tmp_path).start()
    try:
        gateway.kill()
        for name in ("server.json", "process.json"):
            (tmp_path / name).write_text("{")
        gateway.start()
        gateway.client().list_buckets()
    finally:
        gateway.stop()


def test_proxy_passes_everything_until_it_is_cut(proxy: Proxy, s3: S3Gateway) -> None:
    list_buckets_through(proxy, s3)
    proxy.cut()
    with pytest.raises(BotoCoreError):
        list_buckets_through(proxy, s3)
    proxy.mend()
    list_buckets_through(proxy, s3)


def test_proxy_adds_latency_and_takes_it_away(proxy: Proxy, s3: S3Gateway) -> None:
    with proxy.toxic("latency", latency=500):
        assert list_buckets_through(proxy, s3) >= 0.5
    assert list_buckets_through(proxy, s3) < 0.5


def test_unknown_toxic_is_an_error(proxy: Proxy) -> None:
    with pytest.raises(EmbeddedError, match="invalid toxic type"):
        proxy.add_toxic("gremlin")
