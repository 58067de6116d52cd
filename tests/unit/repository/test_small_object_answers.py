"""Answers to requests about small objects: all but a plain success is left to botocore to judge."""

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backup_playbook.repository.small_objects import SMALL_BYTES, SmallObjects
from backup_playbook.repository.store import ObjectStore, Put

TAKEN = b"HTTP/1.1 200 OK\r\nx-amz-version-id: one\r\nContent-Length: 0\r\n\r\n"
Serve = Callable[..., tuple[SmallObjects, list[bytes]]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Give each request the next answer; b"" closes its connection. Returns also the first lines of the requests."""
    servers: list[ThreadingTCPServer] = []

    def start(
        *answers: bytes, certificate: Path | None = None, trusted: bool = True
    ) -> tuple[SmallObjects, list[bytes]]:
        waiting, requests = list(answers), list[bytes]()

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                while line := self.rfile.readline():
                    requests.append(line.strip())
                    while not (header := self.rfile.readline().strip()).startswith(b"content-length"):
                        pass
                    self.rfile.readline()
                    self.rfile.read(int(header.partition(b":")[2]))
                    answer = waiting.pop(0)
                    self.wfile.write(answer)
                    if not answer or b"close" in answer or b"cut" in answer:
                        return

        server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        servers.append(server)
        verify = str(certificate) if certificate and trusted else None
        client = boto3.client(
            "s3", "us-east-1", endpoint_url=f"http{'s' * bool(certificate)}://127.0.0.1:{server.server_address[1]}",
            aws_access_key_id="a", aws_secret_access_key="b", verify=verify,
        )  # fmt: skip
        monkeypatch.setattr(ObjectStore, "put", lambda *_: Put(None, "by botocore"))
        monkeypatch.setattr(ObjectStore, "read", lambda *_: iter([b"by botocore"]))
        monkeypatch.setattr(ObjectStore, "stored_checksum", lambda *_: (11, "by botocore"))
        return SmallObjects(ObjectStore(client, bucket="bucket", prefix="p")), requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = tmp_path_factory.mktemp("certificate") / "server.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + made.public_bytes(pem))
    return file


def test_server_is_asked_who_it_is(serve: Serve, certificate: Path) -> None:
    puts, requests = serve(TAKEN, TAKEN, certificate=certificate)
    assert versions(puts, 2) == ["one", "one"]
    strangers, others = serve(certificate=certificate, trusted=False)
    assert versions(strangers, 1) == ["by botocore"]
    assert (len(requests), others) == (2, [])


def versions(puts: SmallObjects, count: int) -> Sequence[str]:
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
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-cut: 1\r\nx-amz-version-id: o",
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 5\r\nConnection: close\r\n\r\nagain",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nwhy",
    ],
    ids=["closed", "not-http", "no-status", "cut", "busy", "no-version"],
)
def test_what_is_no_success_is_left_to_botocore_once(serve: Serve, answer: bytes) -> None:
    puts, requests = serve(answer, TAKEN)
    assert versions(puts, 2) == ["by botocore", "one"]
    assert len(requests) == 2


def test_a_store_that_refuses_is_left_to_botocore_for_good(serve: Serve) -> None:
    puts, requests = serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert versions(puts, 3) == ["by botocore"] * 3
    assert len(requests) == 1


FOUND = b"HTTP/1.1 200 OK\r\nx-amz-checksum-sha256: sum\r\nContent-Length: 4\r\n\r\n"
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n"


def read(quick: SmallObjects, size: int = 4) -> bytes:
    return b"".join(quick.read("a", "v+/", size))


def test_an_object_and_its_checksum_are_read(serve: Serve) -> None:
    quick, requests = serve(FOUND + b"body", FOUND)
    assert (read(quick), quick.stored_checksum("a", "")) == (b"body", (4, "sum"))
    assert requests == [b"GET /bucket/p/a?versionId=v%2B%2F HTTP/1.1", b"HEAD /bucket/p/a HTTP/1.1"]


@pytest.mark.parametrize(
    ("answer", "size"),
    [(FOUND + b"bo cut", 9), (FOUND + b"body cut", 3), (FOUND.replace(b"4", b"9") + b"body cut", 9),
     (GONE + b"gone", 4),
     (FOUND.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked, close") + b"4\r\nbody\r\n0\r\n\r\n", 4)],
    ids=["shorter", "longer", "cut", "gone", "chunked"],
)  # fmt: skip
def test_what_is_not_as_expected_is_read_by_botocore(serve: Serve, answer: bytes, size: int) -> None:
    quick, requests = serve(answer, FOUND + b"body")
    assert (read(quick, size), read(quick)) == (b"by botocore", b"body")
    assert len(requests) == 2


def test_what_is_large_is_a_stream(serve: Serve) -> None:
    quick, requests = serve()
    assert (read(quick, SMALL_BYTES + 1), requests) == (b"by botocore", [])


def test_what_has_no_checksum_is_looked_up_without_one(serve: Serve) -> None:
    quick, _ = serve(FOUND.replace(b"sum", b"", 1), GONE)
    found = [quick.stored_checksum("a", "") for _ in range(2)]
    assert found == [(4, None), (11, "by botocore")]
