"""Real servers for the tests: started when the first test of a worker asks for them, stopped at the session's end."""

import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from embedded import processes
from embedded.mongo import MongoServer
from embedded.postgres import PostgresServer
from embedded.s3 import S3Gateway
from tests.support.mongo_mask import ReplicaSet

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


LONGEST_ID = 80


class Bucket(NamedTuple):
    name: str
    client: "S3Client"


MongoDatabase = Database[dict[str, Any]]


def pytest_configure(config: pytest.Config) -> None:
    """`kill` ends the tests as Ctrl-C does: their servers are stopped. Workers do not take each other's ports."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        for worker in psutil.Process().children():
            worker.send_signal(signal.SIGINT)
        raise KeyboardInterrupt

    if worker := getattr(config, "workerinput", None):
        # ports of its own: up to a minute passes between choosing one and listening on it
        number = int(worker["workerid"].removeprefix("gw"))
        processes.SERVER_PORTS = processes.SERVER_PORTS[number :: worker["workercount"]]
    else:
        signal.signal(signal.SIGTERM, interrupt)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A long value is no name: it would be in every report, megabytes of it."""
    return argname if isinstance(val, str | bytes) and len(val) > LONGEST_ID else None


@pytest.fixture(scope="session")
def servers_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres18(servers_directory: Path) -> Iterator[PostgresServer]:
    yield from _postgres(servers_directory, "18")


@pytest.fixture(scope="session")
def postgres16(servers_directory: Path) -> Iterator[PostgresServer]:
    yield from _postgres(servers_directory, "16")


@pytest.fixture(scope="session")
def postgres15(servers_directory: Path) -> Iterator[PostgresServer]:
    yield from _postgres(servers_directory, "15")


@pytest.fixture(scope="session")
def s3(servers_directory: Path) -> Iterator[S3Gateway]:
    gateway = S3Gateway(servers_directory / "s3")
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture
def bucket(s3: S3Gateway) -> Bucket:
    """An empty bucket of the test's own, and a client for it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(name)
    return Bucket(name, s3.client())


@pytest.fixture
def database(postgres18: PostgresServer) -> Iterator[Callable[..., str]]:
    """Makes empty databases: `name = database()`, or `database(server)` on another server; dropped after the test."""
    made: list[tuple[PostgresServer, str]] = []

    def make(server: PostgresServer = postgres18) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        server.create_database(name)
        made.append((server, name))
        return name

    yield make
    for server, name in made:
        server.drop_database(name)


@pytest.fixture(scope="session")
def mongo(servers_directory: Path) -> Iterator[MongoServer]:
    server = MongoServer(servers_directory / "mongo")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def mongo_database(mongo: MongoServer) -> Iterator[MongoDatabase]:
    """An empty database of the test's own."""
    with MongoClient[dict[str, Any]](mongo.uri) as client:
        name = f"test_{uuid.uuid4().hex[:12]}"
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def replica_set(mongo: MongoServer) -> Iterator[ReplicaSet]:
    """The same server with the face of a replica set."""
    with ReplicaSet(mongo.uri) as mask:
        yield mask


def _postgres(directory: Path, version: str) -> Iterator[PostgresServer]:
    server = PostgresServer(directory / f"postgres{version}", version)
    try:
        yield server.start()
    finally:
        server.remove()
