"""What a source's configuration asks of a restored copy: queries, commands and pages, right and wrong ones."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from backup_playbook.config import ApplicationCheck, CommandCheck, HttpCheck, SqlCheck
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer
from backup_playbook.operators.checks import RunApplicationChecks
from embedded.postgres import PostgresServer
from include.sample import load
from tests.integration.postgres.lab import server_of

CONNECTION = "http_shop"


@pytest.fixture
def copy(postgres18: PostgresServer, database: Callable[[], str]) -> str:
    return postgres18.dsn(database())


@pytest.fixture
def run(copy: str) -> Callable[[ApplicationCheck], tuple[bool, str]]:
    def run(check: ApplicationCheck) -> tuple[bool, str]:
        operator: Any = RunApplicationChecks(task_id="run_application_checks", handoff=None)
        server = server_of(copy)
        result = operator._run(check, ScratchDatabase(ScratchServer(server, tuple), server.database, ""))
        assert result["name"] == check.name
        assert result["seconds"] < 20
        return result["ok"], result["detail"]

    return run


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(f"this is {self.path}".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    connection = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_port, "schema": "http"}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(connection))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    server.shutdown()
    server.server_close()


def sql(query: str, expect: int | bool | str) -> SqlCheck:
    return SqlCheck(check="sql", name="a question", query=query, expect=expect)


def command(*words: str, seconds: float = 10) -> CommandCheck:
    return CommandCheck(check="command", name="a program", command=words, timeout=timedelta(seconds=seconds))


def page(path: str, **expected: Any) -> HttpCheck:
    return HttpCheck(check="http", name="a page", connection=CONNECTION, path=path, **expected)


@pytest.mark.parametrize(
    ("check", "ok", "detail"),
    [
        (sql("SELECT 2 + 2", 4), True, "4"),
        (sql("SELECT 'x'::text", "x"), True, "x"),
        (sql("SELECT 1::numeric", 1), True, "1"),
        (sql("SELECT 2 + 2", 5), False, "found 4 instead of 5"),
        (sql("SELECT 1 WHERE false", 0), False, "found None instead of 0"),
        (sql("SELECT * FROM nowhere", 0), False, 'relation "nowhere" does not exist'),
        (sql("SELECT concat('Eri', 'ka')::int", 0), False, "invalid input syntax for type integer: ***"),
        (sql("CREATE TABLE x ()", 0), False, "read-only transaction"),
        (command("sh", "-c", "echo fine"), True, "fine"),
        (command("sh", "-c", "echo said; echo wrong >&2; exit 3"), False, "said\n\nsh failed with exit code 3: wrong"),
        (command("sh", "-c", "sleep 60", seconds=0.3), False, "not done after 0.3 s"),
        (command("no-such-program"), False, "The program no-such-program is not installed"),
        (command("sh", "-c", "env | grep -c ^AIRFLOW || true"), True, "0"),
    ],
)
def test_queries_and_commands(
    run: Callable[[ApplicationCheck], tuple[bool, str]], check: ApplicationCheck, ok: bool, detail: str
) -> None:
    assert run(check)[0] is ok
    assert detail in run(check)[1]


def test_command_reaches_the_copy(run: Callable[[ApplicationCheck], tuple[bool, str]], copy: str) -> None:
    """As an application would: by DATABASE_URL alone, in the project's folder, with the Python that runs Airflow."""
    load(copy, 0.002)
    shop = command("python", "-m", "include.sample", "check", seconds=60)
    ok, detail = run(shop)
    assert ok, detail
    assert detail.count("ok    ") > 5


@pytest.mark.usefixtures("application")
@pytest.mark.parametrize(
    ("check", "ok", "detail"),
    [
        (page("/health"), True, "/health answered 200"),
        (page("/copy/{database}", contains="copy/test_"), True, "answered 200"),
        (page("/health", contains="all is well"), False, "answered without 'all is well': this is /health"),
        (page("/broken"), False, "/broken answered 503 instead of 200: this is /broken"),
        (page("/broken", status=503), True, "answered 503"),
    ],
)
def test_pages(
    run: Callable[[ApplicationCheck], tuple[bool, str]], check: ApplicationCheck, ok: bool, detail: str
) -> None:
    found = run(check)
    assert found[0] is ok, found
    assert detail in found[1]


def test_application_that_is_down(
    run: Callable[[ApplicationCheck], tuple[bool, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "http", "host": "127.0.0.1", "port": 9, "schema": "http"}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(connection))
    ok, detail = run(page("/health"))
    assert not ok
    assert "/health gave no answer" in detail
