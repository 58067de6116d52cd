"""A repository behind a proxy that fails on demand."""

import uuid
from collections.abc import Callable, Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.retries import standard

from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore, StoreOptions
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.support.s3_proxy import S3Proxy

MakeStore = Callable[..., ObjectStore]


@pytest.fixture
def proxy(s3: S3Gateway) -> Iterator[S3Proxy]:
    with S3Proxy(s3.port) as proxy:
        yield proxy


@pytest.fixture
def make_store(s3: S3Gateway, proxy: S3Proxy) -> MakeStore:
    """`store = make_store(bucket)`: through the proxy, with the retries of production and without their pauses."""

    def make(
        bucket: str, *, prefix: str = "playbook", options: StoreOptions | None = None, config: Config | None = None
    ) -> ObjectStore:
        client = boto3.client(
            "s3",
            endpoint_url=proxy.url,
            region_name=s3.region,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            config=client_config(2).merge(config or Config()),
        )
        return ObjectStore(client, bucket=bucket, prefix=prefix, name="primary", options=options)

    return make


@pytest.fixture
def store(bucket: Bucket, make_store: MakeStore) -> ObjectStore:
    return make_store(bucket.name)


@pytest.fixture
def second_bucket(s3: S3Gateway) -> str:
    name = f"offsite-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(name)
    return name


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda self, context: 0.001)
