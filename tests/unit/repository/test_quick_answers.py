"""What a quick PUT makes of answers: of whatever is not simply a success, botocore's way is left to judge."""

import threading
from collections.abc import Callable, Iterator, Sequence
from socketserver import StreamRequestHandler, ThreadingTCPServer

import boto3
import pytest

from backup_playbook.repository.quick import QuickPuts
from backup_playbook.repository.store import ObjectStore, Put

TAKEN = b"HTTP/1.1 200 OK\r\nx-amz-version-id: one\r\nContent-Length: 0\r\n\r\n"
Serve = Callable[..., tuple[QuickPuts, list[bytes]]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Give each request the next answer; b"" closes its connection. Returns also the first lines of the requests."""
    servers: list[ThreadingTCPServer] = []

    def start(*answers: bytes) -> tuple[QuickPuts, list[bytes]]:
        waiting, requests = list(answers), list[bytes]()

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                while line := self.rfile.readline():
                    requests.append(line.strip())
                    while (header := self.rfile.readline().strip()) and not header.startswith(b"content-length"):
                        pass
                    self.rfile.readline()
                    self.rfile.read(int(header.partition(b":")[2]))
                    answer = waiting.pop(0)
                    self.wfile.write(answer)
                    if not answer or b"close" in answer or b"cut" in answer:
                        return

        server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        servers.append(server)
        client = boto3.client(
            "s3", "us-east-1", endpoint_url=f"http://127.0.0.1:{server.server_address[1]}",
            aws_access_key_id="a", aws_secret_access_key="b",
        )  # fmt: skip
        monkeypatch.setattr(ObjectStore, "put", lambda *_: Put(None, "by botocore"))
        return QuickPuts(ObjectStore(client, bucket="bucket", prefix="p")), requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def versions(puts: QuickPuts, count: int) -> Sequence[str]:
    return [puts.put(f"{number} ü", b"body") for number in range(count)]


def test_a_connection_is_kept(serve: Serve) -> None:
    puts, requests = serve(TAKEN, TAKEN.replace(b"one", b"two"))
    assert versions(puts, 2) == ["one", "two"]
    assert requests == [b"PUT /bucket/p/0%20%C3%BC HTTP/1.1", b"PUT /bucket/p/1%20%C3%BC HTTP/1.1"]


@pytest.mark.parametrize(
    "answer",
    [
        TAKEN.replace(b"Content-Length: 0", b"Connection: close\r\nContent-Length: 0"),
        TAKEN.replace(b"Content-Length: 0", b"X: close"),
    ],
    ids=["told", "no-length"],
)
def test_a_connection_that_is_not_to_be_kept_is_not(serve: Serve, answer: bytes) -> None:
    puts, _ = serve(answer, TAKEN.replace(b"one", b"two"))
    assert versions(puts, 2) == ["one", "two"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 cut me\r\n",
        b"HTTP/1.1 cut\r\n\r\n",
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 5\r\nConnection: close\r\n\r\nagain",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nwhy",
    ],
    ids=["closed", "not-http", "no-status", "busy", "no-version"],
)
def test_what_is_no_success_is_left_to_botocore_once(serve: Serve, answer: bytes) -> None:
    puts, requests = serve(answer, TAKEN)
    assert versions(puts, 2) == ["by botocore", "one"]
    assert len(requests) == 2


def test_a_store_that_refuses_is_left_to_botocore_for_good(serve: Serve) -> None:
    puts, requests = serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert versions(puts, 3) == ["by botocore"] * 3
    assert len(requests) == 1
