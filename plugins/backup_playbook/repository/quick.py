"""PUT of very many small objects, with a tenth of botocore's work for each.

botocore takes 1.5 ms of a core for a PUT, most of it to find the endpoint, describe itself and call handlers, and
http.client nearly half as much, most of it to read the answer's headers as if they were those of a mail: more than a
small file is worth. Here a request is signed in one go, and goes over a connection that is kept. Whatever does not
succeed at once is left to botocore, with its retries and explanations; so is everything where a proxy, a client
certificate or an unverified connection is configured, which botocore knows how to do.
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

TOO_MANY_REQUESTS = 429

log = logging.getLogger(__name__)


class QuickPuts:
    """Puts into one store, from any number of threads, each with a connection of its own."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
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
        if self._usable:
            try:
                if version := self._send(key, body):
                    return version
            except (OSError, HTTPException) as error:
                log.debug("%s is left to botocore: %s", key, error)
        return self._store.put(key, body).version

    def _send(self, key: str, body: bytes) -> str | None:
        """None when the store did not simply take it."""
        # by its path, not by a host name of the bucket's own: the one connection does for all, and dots do no harm
        path = f"{self._address.path}/{self._store.bucket}/{quote(self._store.path(key), safe='/~')}"
        headers = signed(
            path,
            self._headers(hashlib.sha256(body).digest()),
            self._credentials.get_frozen_credentials(),
            self._store.client.meta.region_name,
            datetime.now(UTC),
        )
        connection = self._connection()
        try:
            answer = connection.put(path, headers, body)
        except BaseException:
            self._close()
            raise
        if not answer.reusable:
            self._close()
        if 300 <= answer.status < 500 and answer.status != TOO_MANY_REQUESTS:
            self._usable = False  # this store wants something that only botocore does
        return answer.version if answer.status == 200 else None

    def _headers(self, digest: bytes) -> dict[str, str]:
        headers = {"host": self._address.netloc.rpartition("@")[2], "x-amz-content-sha256": digest.hex()}
        if self._store.options.checksums:
            headers["x-amz-checksum-sha256"] = b64encode(digest).decode()
        if storage_class := self._store.attributes(None).get("StorageClass"):
            headers["x-amz-storage-class"] = storage_class
        return headers

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._mine, "connection", None)
        if connection is None:
            port = self._address.port or (443 if self._tls else 80)
            connection = self._mine.connection = _Connection(self._address.hostname or "", port, self._tls)
        return connection

    def _close(self) -> None:
        self._mine.connection.close()
        self._mine.connection = None


class _Answer(NamedTuple):
    status: int
    version: str | None
    reusable: bool
    """Whether the connection may carry another request."""


class _Connection:
    """As much of HTTP as a PUT of S3 needs. Raises OSError, HTTPException: then it must be closed."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._socket = socket.create_connection((host, port), READ_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self._answers = self._socket.makefile("rb")

    def put(self, path: str, headers: dict[str, str], body: bytes) -> _Answer:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"PUT {path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        first = self._answers.readline().split()
        if len(first) < 2 or not first[1].isdigit():
            raise HTTPException(f"the answer starts with {first!r}")
        found: dict[bytes, bytes] = {}
        while line := self._answers.readline().strip():
            name, _, value = line.partition(b":")
            found[name.lower()] = value.strip()
        length = found.get(b"content-length", b"")
        if length.isdigit():
            self._answers.read(int(length))
        version = found.get(b"x-amz-version-id")
        reusable = length.isdigit() and found.get(b"connection", b"").lower() != b"close"
        return _Answer(int(first[1]), version.decode() if version else None, reusable)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._answers.close()
            self._socket.close()


def signed(
    path: str, headers: dict[str, str], credentials: ReadOnlyCredentials, region: str, now: datetime
) -> dict[str, str]:
    """The headers of a PUT with its signature (AWS Signature Version 4); `x-amz-content-sha256` must be among them."""
    time = f"{now:%Y%m%dT%H%M%SZ}"
    date = time[:8]
    headers = {**headers, "x-amz-date": time}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = sorted(headers)
    lines = "".join(f"{name}:{headers[name]}\n" for name in names)
    request = f"PUT\n{path}\n\n{lines}\n{';'.join(names)}\n{headers['x-amz-content-sha256']}"
    scope = f"{date}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
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
