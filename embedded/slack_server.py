"""Plays Slack's incoming webhooks: keeps each message as one line of JSON, and prints it as a person would see it.

Runs as a script with nothing but the standard library: `slack_server.py PORT MESSAGES_FILE`, the channels by their
webhooks' secret paths as JSON in the environment variable WEBHOOKS. `GET /` is a page that shows the channels, and
`GET /messages` returns all messages; `PUT /failure` with a status such as `500` makes every following post fail with
it, and `DELETE /failure` ends that.
"""

import json
import os
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("slack_page.html")


def render(message: dict[str, Any]) -> str:
    """A message as lines of text. Blocks win over the text, as in Slack, where the text is for the notification."""
    blocks = [*message.get("blocks", [])]
    for attachment in message.get("attachments", []):
        blocks += attachment.get("blocks", [])
        blocks += [{"text": attachment[key]} for key in ("title", "text") if attachment.get(key)]
    lines = [line for block in blocks for line in _block_lines(block) if line]
    return "\n".join(lines or [str(message.get("text", ""))])


def _block_lines(block: dict[str, Any]) -> Iterable[str]:
    if block.get("type") == "divider":
        yield "---"
        return
    yield _text(block.get("text"))
    for field in block.get("fields", []):
        yield f"  {_text(field)}"
    for element in block.get("elements", []):
        yield " ".join(part for part in (f"  {_text(element.get('text', element))}", element.get("url", "")) if part)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("text", "")
    return str(value or "")


class Inbox(ThreadingHTTPServer):
    """The server and its state."""

    daemon_threads = True

    def __init__(self, port: int, messages: Path, webhooks: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.webhooks = webhooks
        self.failure: int | None = None
        self._messages = messages
        self._lock = threading.Lock()
        messages.touch(exist_ok=True)

    def keep(self, channel: str, message: dict[str, Any]) -> None:
        now = datetime.now(UTC)
        received = {"received": now.isoformat(timespec="milliseconds"), "channel": channel, "message": message}
        with self._lock, self._messages.open("a") as file:
            file.write(json.dumps(received) + "\n")
        print(f"\n[{now:%H:%M:%S}] Slack {channel}\n{render(message)}", flush=True)

    def messages(self) -> bytes:
        with self._lock:
            lines = self._messages.read_text().splitlines()
        return f"[{','.join(lines)}]".encode()


class Handler(BaseHTTPRequestHandler):
    server: Inbox

    def do_GET(self) -> None:
        if self.path == "/messages":
            self._answer(200, self.server.messages(), "application/json")
        elif self.path == "/":
            self._answer(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        else:
            self._answer(404, b"not_found")

    def do_PUT(self) -> None:
        self.server.failure = int(self._body())
        self._answer(200, b"ok")

    def do_DELETE(self) -> None:
        self.server.failure = None
        self._answer(200, b"ok")

    def do_POST(self) -> None:
        """Answers what Slack's documentation of incoming webhooks says for each kind of mistake."""
        body = self._body()
        if self.server.failure is not None:
            self._answer(self.server.failure, b"told_to_fail")
        elif channel := self.server.webhooks.get(self.path):
            self._receive(channel, body)
        else:
            self._answer(403, b"invalid_token")

    def _receive(self, channel: str, body: bytes) -> None:
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._answer(400, b"invalid_payload")
        elif not any(message.get(part) for part in ("text", "blocks", "attachments")):
            self._answer(400, b"no_text")
        else:
            self.server.keep(channel, message)
            self._answer(200, b"ok")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Only messages are printed, not requests."""


if __name__ == "__main__":
    Inbox(int(sys.argv[1]), Path(sys.argv[2]), json.loads(os.environ["WEBHOOKS"])).serve_forever()
