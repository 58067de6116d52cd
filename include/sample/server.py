"""The running shop, as small as an application can be that has a health URL and reads its database.

A connection for each request: the database under this name may be replaced while the application runs.
"""

import json
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
from psycopg.rows import dict_row

CONNECT_TIMEOUT_S = 3
MAINTENANCE_PATH = "/api/maintenance"
Answer = tuple[HTTPStatus, dict[str, Any]]


class ShopServer(ThreadingHTTPServer):
    """Serves the shop's API on 127.0.0.1; port 0 takes a free one (`server_port` tells which)."""

    daemon_threads = True

    def __init__(self, dsn: str, port: int) -> None:
        self.dsn = dsn
        self.maintenance = False
        super().__init__(("127.0.0.1", port), ShopHandler)

    def query(self, query: str, *parameters: object) -> dict[str, Any] | None:
        """Return the first row, or None; raises psycopg.Error."""
        with psycopg.connect(self.dsn, connect_timeout=CONNECT_TIMEOUT_S, row_factory=dict_row) as connection:
            return connection.execute(query, parameters).fetchone()


class ShopHandler(BaseHTTPRequestHandler):
    server: ShopServer

    def do_GET(self) -> None:
        try:
            self._send(*self._answer())
        except psycopg.Error as error:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "error": str(error).strip()})

    def do_PUT(self) -> None:
        self._switch_maintenance(on=True)

    def do_DELETE(self) -> None:
        self._switch_maintenance(on=False)

    def _switch_maintenance(self, *, on: bool) -> None:
        if self.path != MAINTENANCE_PATH:
            self._send(HTTPStatus.NOT_FOUND, {"error": f"Not found. There is {MAINTENANCE_PATH}."})
            return
        self.server.maintenance = on
        self._send(HTTPStatus.OK, {"maintenance": on})

    def _send(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        content = json.dumps(body, default=str, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Stay silent: a health check every second would bury everything else in the demo's terminal."""

    def _answer(self) -> Answer:
        if self.path == MAINTENANCE_PATH:
            return HTTPStatus.OK, {"maintenance": self.server.maintenance}
        if self.server.maintenance:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "maintenance", "error": "The shop is being repaired."}
        match self.path.strip("/").split("/"):
            case ["api", "health"]:
                return self._health()
            case ["users", user_id] if re.fullmatch(r"[0-9]{1,18}", user_id):  # what a bigint holds
                return self._user(int(user_id))
            case _:
                return HTTPStatus.NOT_FOUND, {"error": "Not found. There are /api/health and /users/<id>."}

    def _health(self) -> Answer:
        # Reads the application's own tables: a database that answers but is empty is not healthy.
        row = self.server.query("""
            SELECT current_database() AS database, EXISTS (SELECT FROM users) AND EXISTS (SELECT FROM products) AS ready
        """)
        if row is None or not row["ready"]:
            return HTTPStatus.SERVICE_UNAVAILABLE, {
                "status": "unavailable",
                "error": "the shop has no users or no products",
            }
        return HTTPStatus.OK, {"status": "ok", "database": row["database"]}

    def _user(self, user_id: int) -> Answer:
        row = self.server.query(
            """
            SELECT id, email, full_name, role, created_at,
                   (SELECT count(*) FROM orders WHERE user_id = users.id) AS orders
            FROM users WHERE id = %s
            """,
            user_id,
        )
        if row is None:
            return HTTPStatus.NOT_FOUND, {"error": f"There is no user {user_id}."}
        return HTTPStatus.OK, row
