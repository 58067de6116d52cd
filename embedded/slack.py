"""The receiver that plays Slack, as a server of the embedded stack."""

import contextlib
import json
import secrets
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from embedded.daemon import Daemon

CRITICAL = "-critical"


class SlackReceiver(Daemon):
    """Accepts what the Slack provider of Airflow posts to an incoming webhook."""

    name: ClassVar[str] = "slack"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.messages_file = self.directory / "messages.jsonl"

    def command(self, port: int) -> Sequence[str]:
        script = Path(__file__).with_name("slack_server.py")
        return [sys.executable, "-I", str(script), str(port), str(self.messages_file)]

    def environment(self) -> Mapping[str, str]:
        path = f"/services/{self.token}"
        return {"WEBHOOKS": json.dumps({path: "#alerts", f"{path}{CRITICAL}": "#critical"})}

    def first_state(self) -> Mapping[str, str]:
        return {"token": f"T{secrets.token_hex(4).upper()}/B{secrets.token_hex(4).upper()}/{secrets.token_urlsafe(18)}"}

    @property
    def token(self) -> str:
        return self.state("token")

    @property
    def webhook_url(self) -> str:
        """A secret, as a real one is: whoever knows it can post."""
        return f"{self.url}/services/{self.token}"

    @property
    def critical_webhook_url(self) -> str:
        """The same for #critical; the other one is that of #alerts."""
        return self.webhook_url + CRITICAL

    def messages(self) -> list[dict[str, Any]]:
        """The bodies of all messages received since the directory was made, oldest first."""
        return [message for _, message in self.received()]

    def received(self) -> list[tuple[str, dict[str, Any]]]:
        """The same, with the channel of each."""
        return [(kept["channel"], kept["message"]) for kept in json.loads(self._request("GET", "/messages"))]

    @contextlib.contextmanager
    def failing(self, status: int = 500) -> Iterator[None]:
        """While inside, every message is refused with the HTTP status."""
        self._request("PUT", "/failure", str(status).encode())
        try:
            yield
        finally:
            self._request("DELETE", "/failure")

    def _request(self, method: str, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: bytes = response.read()
            return answer
