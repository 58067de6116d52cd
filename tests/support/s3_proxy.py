"""A proxy in front of an S3 server that fails on demand: at some requests, from one on, or for one kind of request.

Requests arrive at the server as they were sent, Host header included, so that their signatures hold. Conditional writes
pass one at a time: S3 checks and writes in one step, and the gateway of the tests in two.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

LOOPBACK = "127.0.0.1"
MOST_IN_A_ROW = 3
_HOP_HEADERS = frozenset(("connection", "expect", "keep-alive", "transfer-encoding"))


@dataclass(frozen=True)
class Request:
    number: int
    """From 1."""
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)


@dataclass(frozen=True)
class Fault:
    """What happens instead of the server's answer."""

    status: int = 0
    """Answer with this status; 0: close the connection without an answer."""
    code: str = "InternalError"
    message: str = "We encountered an internal error."
    body: str = ""
    """Instead of S3's XML with code and message."""
    processed: bool = False
    """The server gets the request first: only its answer is lost."""
    delay: float = 0.0
    """Seconds of silence before the fault."""
    body_bytes: int = -1
    """Send the server's own answer, and close the connection after so many bytes of its body."""


Decide = Callable[[Request], Fault | None]


def never(_: Request) -> None:
    return None


def every(period: int, offset: int, fault: Fault) -> Decide:
    """At each request whose number leaves `offset` when divided by `period`; but a request that is tried again and
    again does not meet it at every try, as it could where many are under way."""
    failed = Counter[tuple[str, str]]()

    def decide(request: Request) -> Fault | None:
        this = (request.method, request.path)
        if request.number % period != offset or failed[this] == MOST_IN_A_ROW:
            failed[this] = 0
            return None
        failed[this] += 1
        return fault

    return decide


def from_on(number: int, fault: Fault) -> Decide:
    return lambda request: fault if request.number >= number else None


@dataclass
class S3Proxy:
    """Use as a context manager. `requests` holds what has passed since `reset`."""

    upstream_port: int
    decide: Decide = never
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._lock = threading.Lock()
        self.conditional = threading.Lock()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def reset(self, decide: Decide = never) -> None:
        """Count from 1 again, with other faults."""
        with self._lock:
            self.requests = []
            self.decide = decide

    def note(self, method: str, path: str, headers: dict[str, str]) -> Fault | None:
        with self._lock:
            request = Request(len(self.requests) + 1, method, path, headers)
            self.requests.append(request)
            return self.decide(request)


def fails_once_at_each_request(proxy: S3Proxy, run: Callable[[], object], error: type[Exception]) -> Iterator[Request]:
    """Run again and again; a run fails at its first request, the next at its second. Yields the request that failed.

    It fails also when the run asks again: what small_objects.py leaves to botocore is asked twice.
    The last run, where none is left to fail, has to succeed.
    """
    number = 1
    while True:
        failed: list[Request] = []

        def decide(request: Request, number: int = number, failed: list[Request] = failed) -> Fault | None:
            again = failed and (request.method, request.path) == (failed[0].method, failed[0].path)
            if request.number != number and not again:
                return None
            failed.append(request)
            return Fault(503, "SlowDown")

        proxy.reset(decide)
        try:
            run()
        except error:
            assert failed, "it failed for another reason"
        else:
            assert not failed, f"{failed} failed, and nobody said so"
            proxy.reset()
            return
        proxy.reset()
        yield failed[0]
        number += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: S3Proxy

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.owner.note(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        if fault is None:
            self._relay(body)
            return
        time.sleep(fault.delay)
        if fault.body_bytes >= 0:
            self._relay(body, fault.body_bytes)
        else:
            if fault.processed:
                self._ask(body)
            self._fail(fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any  # noqa: N815 - http.server's names

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        with self.owner.conditional if self.headers.get("If-None-Match") else contextlib.nullcontext():
            return self._forward(body)

    def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        upstream = http.client.HTTPConnection(LOOPBACK, self.owner.upstream_port, timeout=60)
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_HEADERS:
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            return answer, answer.read()

    def _relay(self, body: bytes, cut_after: int | None = None) -> None:
        answer, content = self._ask(body)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_HEADERS:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content if cut_after is None else content[:cut_after])
        if cut_after is not None:
            self._cut()

    def _fail(self, fault: Fault) -> None:
        if not fault.status:
            self._cut()
            return
        error = f"<Error><Code>{fault.code}</Code><Message>{fault.message}</Message></Error>"
        text = (fault.body or error).encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Quiet: what passed is in `requests`."""
