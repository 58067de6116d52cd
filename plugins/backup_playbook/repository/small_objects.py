"""Requests about very many small objects, with a tenth of botocore's work for each.

botocore takes 1.5 ms of a core for a request, most of it to find the endpoint, describe itself and call handlers.
http.client takes nearly half as much, most of it to read the answer's headers as if they were those of a mail. Both are
more than a small file is worth.
Here a request is signed in one go, and goes over a connection that is kept. Whatever does not succeed at once is left
to botocore, with its retries and explanations. So is everything where a proxy, a client certificate or an unverified
connection is configured.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import socket
import ssl
import threading
from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import get_cert_path

from backup_playbook.repository.client import READ_SECONDS
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.blocks import Blocks

SMALL_BYTES = 4 << 20
"""Largest object that is one request, whole in memory."""
_ATTRIBUTES = {
    "StorageClass": "x-amz-storage-class",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}
OF_THIS_OBJECT = frozenset({404, 405, 429})
"""Refusals that say nothing of the next request: gone, a delete marker, too many requests."""

log = logging.getLogger(__name__)


class SmallObjects:
    """A client of one store for small objects, used by any number of threads, each with its own connection."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        endpoint = store.client.meta.endpoint_url.rstrip("/")
        self._address = urlsplit(endpoint)
        self._credentials = store.client._request_signer._credentials  # type: ignore[attr-defined] # noqa: SLF001
        session = store.client._endpoint.http_session  # type: ignore[attr-defined] # noqa: SLF001
        special = session._proxy_config.proxy_url_for(endpoint) or session._cert_file  # noqa: SLF001
        self._usable = bool(self._credentials and session._verify and not special)  # noqa: SLF001
        secure = self._usable and self._address.scheme == "https"
        self._tls = ssl.create_default_context(cafile=get_cert_path(session._verify)) if secure else None  # noqa: SLF001
        self._mine = threading.local()

    def put(self, key: str, body: bytes) -> str:
        """Store an object; returns its version. Raises RepositoryError."""
        answer = self._ask("PUT", key, body=body)
        return (answer.header("x-amz-version-id") if answer else "") or self.store.put(key, body).version

    def read(self, key: str, version: str, size: int) -> Blocks:
        """Read an object that should have `size` bytes, or one version of it.

        An object that is large, or of another size, comes as a stream: a block is never more than SMALL_BYTES. Raises
        RepositoryError, also while it is read.
        """
        answer = self._ask("GET", key, version, expected=size) if size <= SMALL_BYTES else None
        return [answer.body] if answer else self.store.read(key, version)

    def stored_checksum(self, key: str, version: str) -> tuple[int, str | None]:
        """Size in bytes, and the store's own SHA-256; see ObjectStore.stored_checksum."""
        answer = self._ask("HEAD", key, version)
        if answer and (size := answer.header("content-length")).isdigit():
            return int(size), answer.header("x-amz-checksum-sha256") or None
        return self.store.stored_checksum(key, version)

    def _ask(self, method: str, key: str, version: str = "", body: bytes = b"", expected: int = 0) -> _Answer | None:
        """Send a request; None when the store did not simply do it, or sends more than is expected."""
        if not self._usable:
            return None
        # by its path, not by a host name of the bucket's own: the one connection does for all, and dots do no harm
        path = f"{self._address.path}/{self.store.bucket}/{quote(self.store.path(key), safe='/~')}"
        query = f"versionId={quote(version, safe='~')}" if version else ""
        request = Request(method, path, query)
        try:
            headers = signed(
                request,
                self._headers(method, hashlib.sha256(body).digest()),
                self._credentials.get_frozen_credentials(),
                self.store.client.meta.region_name,
                datetime.now(UTC),
            )
            answer = self._connection().send(request, headers, body, expected)
        except (OSError, HTTPException) as error:
            log.debug("%s %s is left to botocore: %s", method, key, error)
            self._close()
            return None
        except BaseException:
            self._close()
            raise
        if not answer.reusable:
            self._close()
        if 300 <= answer.status < 500 and answer.status not in OF_THIS_OBJECT:
            self._usable = False  # this store wants something that only botocore does
        return answer if answer.status == 200 else None

    def _headers(self, method: str, digest: bytes) -> dict[str, str]:
        headers = {"host": self._address.netloc.rpartition("@")[2], "x-amz-content-sha256": digest.hex()}
        if method == "HEAD":
            headers["x-amz-checksum-mode"] = "ENABLED"
        if method == "PUT" and self.store.options.checksums:
            headers["x-amz-checksum-sha256"] = b64encode(digest).decode()
        if method == "PUT":
            attributes = self.store.attributes(None)
            headers |= {name: attributes[field] for field, name in _ATTRIBUTES.items() if field in attributes}
        return headers

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._mine, "connection", None)
        if connection is None:
            port = self._address.port or (443 if self._tls else 80)
            connection = self._mine.connection = _Connection(self._address.hostname or "", port, self._tls)
        return connection

    def _close(self) -> None:
        connection: _Connection | None = getattr(self._mine, "connection", None)
        if connection:
            connection.close()
        self._mine.connection = None


class _Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    reusable: bool
    """Whether the connection may carry another request."""

    def header(self, name: str) -> str:
        return self.headers.get(name.encode(), b"").decode()


class _Connection:
    """The part of HTTP that small objects of S3 need. Close it after an OSError or HTTPException."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._socket = socket.create_connection((host, port), READ_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self._answers = self._socket.makefile("rb")

    def send(self, request: Request, headers: dict[str, str], body: bytes, expected: int) -> _Answer:
        """Send a request and read its answer; `expected` is the size of the body of a success."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        target = f"{request.path}?{request.query}" if request.query else request.path
        head = f"{request.method} {target} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        first = self._answers.readline().split()
        if len(first) < 2 or not first[1].isdigit():
            raise HTTPException(f"the answer starts with {first!r}")
        found: dict[bytes, bytes] = {}
        while (line := self._answers.readline()) not in (b"\r\n", b"\n"):
            if not line.endswith(b"\n"):
                raise HTTPException("the answer was cut within its headers")
            name, _, value = line.partition(b":")
            found[name.strip().lower()] = value.strip()
        status, length = int(first[1]), found.get(b"content-length", b"")
        reusable = length.isdigit() and found.get(b"connection", b"").lower() != b"close"
        if request.method == "HEAD":
            return _Answer(status, found, b"", reusable)
        if request.method == "GET" and status == 200 and length != str(expected).encode():
            raise HTTPException(f"the answer has {length!r} bytes instead of {expected}")
        content = self._answers.read(int(length)) if length.isdigit() else b""
        if length.isdigit() and len(content) != int(length):
            raise HTTPException(f"the answer was cut after {len(content)} bytes")
        return _Answer(status, found, content, reusable)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._answers.close()
            self._socket.close()


class Request(NamedTuple):
    """A request to be signed."""

    method: str
    path: str
    """Percent-encoded, as is the query."""
    query: str = ""


def signed(
    request: Request, headers: dict[str, str], credentials: ReadOnlyCredentials, region: str, now: datetime
) -> dict[str, str]:
    """Headers of a request with its signature (AWS Signature Version 4).

    headers: must have `x-amz-content-sha256`.
    """
    time = f"{now:%Y%m%dT%H%M%SZ}"
    date = time[:8]
    headers = {**headers, "x-amz-date": time}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = sorted(headers)
    lines = "".join(f"{name}:{headers[name]}\n" for name in names)
    whole = "\n".join([*request, lines, ";".join(names), headers["x-amz-content-sha256"]])
    scope = f"{date}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(whole.encode()).hexdigest()}"
    signature = hmac.digest(_signing_key(credentials.secret_key, date, region), text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={';'.join(names)}, "
        f"Signature={signature}"
    )
    return headers


@lru_cache(maxsize=8)
def _signing_key(secret: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for word in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key
