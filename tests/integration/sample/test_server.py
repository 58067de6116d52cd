import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from include.sample.server import ShopServer


@pytest.fixture
def server(shop: str) -> Iterator[ShopServer]:
    with ShopServer(shop, port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: ShopServer, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_is_healthy(server: ShopServer) -> None:
    status, body = get(server, "/api/health")
    assert (status, body["status"]) == (200, "ok")


def test_an_empty_database_is_not_healthy(server: ShopServer, shop: str) -> None:
    with psycopg.connect(shop) as connection:
        connection.execute("TRUNCATE users CASCADE")
    status, body = get(server, "/api/health")
    assert (status, body["error"]) == (503, "the shop has no users or no products")


def test_an_unreachable_database_is_not_healthy(server: ShopServer) -> None:
    server.dsn = "host=127.0.0.1 port=1"
    assert get(server, "/api/health")[0] == 503


def test_shows_a_user(server: ShopServer) -> None:
    status, body = get(server, "/users/1")
    assert status == 200
    assert body["id"] == 1
    assert body["role"] == "admin"
    assert isinstance(body["orders"], int)


@pytest.mark.parametrize("path", ["/users/999999999", "/users/" + "9" * 30, "/users/1'", "/users/", "/"])
def test_what_does_not_exist_is_not_found(path: str, server: ShopServer) -> None:
    assert get(server, path)[0] == 404


def test_in_maintenance_it_serves_nobody_and_says_so(server: ShopServer) -> None:
    for _ in range(2):
        assert get(server, "/api/maintenance", "PUT") == (200, {"maintenance": True})
    assert get(server, "/api/maintenance") == (200, {"maintenance": True})
    assert (get(server, "/api/health")[0], get(server, "/users/1")[0]) == (503, 503)
    assert get(server, "/api/maintenance", "DELETE") == (200, {"maintenance": False})
    assert get(server, "/api/health")[0] == 200


def test_nothing_else_can_be_written(server: ShopServer) -> None:
    assert get(server, "/users/1", "PUT")[0] == 404
    assert get(server, "/users/1", "DELETE")[0] == 404
