"""One production database of each engine, and one backup of it, for all tests of a module."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_playbook.core.model import Manifest
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from embedded.postgres import client_bin_dirs
from embedded.s3 import S3Gateway
from tests.contract.abilities import engines_with
from tests.contract.mongodb_scene import MongoScene
from tests.contract.postgres_scene import PostgresScene
from tests.contract.scenes import Scene
from tests.contract.sqlite_scene import SqliteScene
from tests.integration.postgres.lab import Lab

SCENES = {
    "postgres": (PostgresScene, "postgres18"),
    "mongodb": (MongoScene, "mongo"),
    "sqlite": (SqliteScene, "directory"),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="session")
def clients() -> Iterator[None]:
    """Client programs of every version that this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKUP_PLAYBOOK_PG_CLIENTS", os.pathsep.join(map(str, client_bin_dirs())))
        yield


@pytest.fixture(scope="module", params=engines_with("LiveDatabase"))
def production(request: pytest.FixtureRequest, clients: None) -> Iterator[Scene]:
    make, server = SCENES[request.param]
    scene: Scene = make(request.getfixturevalue(server))
    yield scene
    scene.close()


@pytest.fixture(scope="module")
def backup(production: Scene, s3: S3Gateway, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Manifest]:
    s3.create_bucket(production.name.replace("_", "-"))
    store = ObjectStore(s3.client(client_config(2)), bucket=production.name.replace("_", "-"), prefix="contract")
    lab = Lab(s3, store, tmp_path_factory.mktemp("contract"), engine=production.engine)
    return lab, lab.backup(production.source())


@pytest.fixture(scope="module")
def good(production: Scene) -> object:
    """What applications find when it is as it was backed up."""
    production.begin()
    found = production.contents()
    production.end()
    return found


@pytest.fixture
def scene(production: Scene) -> Iterator[Scene]:
    """As it was backed up."""
    production.begin()
    yield production
    production.end()
