from collections.abc import Callable, Iterator

import pytest

from embedded.postgres import PostgresServer
from include.sample import load

SCALE = 0.002


@pytest.fixture(scope="module")
def loaded_shop(postgres18: PostgresServer, worker_id: str) -> Iterator[str]:
    """The name of a database with the shop in it, for tests that only read."""
    name = f"shop_{worker_id}"
    postgres18.drop_database(name)
    postgres18.create_database(name)
    load(postgres18.dsn(name), SCALE)
    yield name
    postgres18.drop_database(name)


@pytest.fixture
def shop(loaded_shop: str, postgres18: PostgresServer, database: Callable[..., str]) -> str:
    """The connection string of a shop of the test's own, to be damaged at will."""
    name = database()
    with postgres18.connect() as connection:
        connection.execute(f"DROP DATABASE {name}")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {loaded_shop}")
    return postgres18.dsn(name)
