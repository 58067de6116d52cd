"""A TCP proxy that adds latency, cuts connections and limits bandwidth on demand: faults in front of a real server."""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from embedded.binaries import TOXIPROXY, binary
from embedded.daemon import Daemon
from embedded.errors import EmbeddedError
from embedded.processes import LOOPBACK


class Toxiproxy(Daemon):
    """Makes proxies: `proxy = toxiproxy.proxy("s3", gateway.port)`, then connect to `proxy.port` instead."""

    name: ClassVar[str] = "toxiproxy"

    def command(self, port: int) -> Sequence[str]:
        return [str(binary(TOXIPROXY)), "-host", LOOPBACK, "-port", str(port)]

    def proxy(self, name: str, upstream_port: int) -> "Proxy":
        """A new proxy to 127.0.0.1:upstream_port; one of the same name is replaced."""
        with contextlib.suppress(EmbeddedError):
            self.request("DELETE", f"/proxies/{name}")
        body = {"name": name, "listen": f"{LOOPBACK}:0", "upstream": f"{LOOPBACK}:{upstream_port}", "enabled": True}
        made = self.request("POST", "/proxies", body)
        return Proxy(self, name, int(made["listen"].rsplit(":", 1)[1]))

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer: dict[str, Any] = json.loads(response.read() or b"{}")
                return answer
        except urllib.error.HTTPError as error:
            raise EmbeddedError(
                f"toxiproxy refused {method} {path}: {error.read().decode(errors='replace').strip()}",
                "The names and attributes of toxics are in the README of Shopify/toxiproxy.",
            ) from None


@dataclass(frozen=True)
class Proxy:
    server: Toxiproxy
    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @contextlib.contextmanager
    def toxic(self, kind: str, stream: str = "downstream", **attributes: int) -> Iterator[None]:
        """While inside, the fault is there: latency (latency, jitter: ms), bandwidth (rate: KB/s), timeout
        (timeout: ms), reset_peer (timeout: ms), limit_data (bytes), slow_close (delay: ms).

        stream: "upstream" is from the client to the server, "downstream" from the server to the client.
        """
        self.add_toxic(kind, stream, **attributes)
        try:
            yield
        finally:
            self.remove_toxic(kind, stream)

    def add_toxic(self, kind: str, stream: str = "downstream", **attributes: int) -> None:
        body = {"name": f"{kind}_{stream}", "type": kind, "stream": stream, "attributes": attributes}
        self.server.request("POST", f"/proxies/{self.name}/toxics", body)

    def remove_toxic(self, kind: str, stream: str = "downstream") -> None:
        self.server.request("DELETE", f"/proxies/{self.name}/toxics/{kind}_{stream}")

    def cut(self) -> None:
        """Closes every connection and refuses new ones, until `mend`."""
        self.server.request("POST", f"/proxies/{self.name}", {"enabled": False})

    def mend(self) -> None:
        self.server.request("POST", f"/proxies/{self.name}", {"enabled": True})
