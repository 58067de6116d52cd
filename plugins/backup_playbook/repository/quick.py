"""PUT of very many small objects, with a third of botocore's work for each.

botocore takes 1.5 ms of a core for a PUT, most of it to find the endpoint, describe itself and call handlers: more than
a small file is worth. Here a request that botocore has signed goes over a connection that is kept. Whatever does not
succeed at once is left to botocore, with its retries and explanations; so is everything where a proxy, a client
certificate or an unverified connection is configured, which botocore knows how to do.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import get_cert_path

from backup_playbook.repository.client import READ_SECONDS
from backup_playbook.repository.store import ObjectStore

TOO_MANY_REQUESTS = 429

log = logging.getLogger(__name__)


class QuickPuts:
    """Puts into one store, from any number of threads, each with a connection of its own."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._endpoint = store.client.meta.endpoint_url.rstrip("/")
        self._address = urlsplit(self._endpoint)
        self._credentials = store.client._request_signer._credentials  # type: ignore[attr-defined] # noqa: SLF001
        session = store.client._endpoint.http_session  # type: ignore[attr-defined] # noqa: SLF001
        special = session._proxy_config.proxy_url_for(self._endpoint) or session._cert_file  # noqa: SLF001
        self._usable = bool(self._credentials and session._verify and not special)  # noqa: SLF001
        self._tls = ssl.create_default_context(cafile=get_cert_path(session._verify)) if self._usable else None  # noqa: SLF001
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
        signed = self._signed(key, body)
        connection = self._connection()
        try:
            connection.request("PUT", urlsplit(str(signed.url)).path, body, dict(signed.headers.items()))
            answer = connection.getresponse()
            answer.read()
        except BaseException:
            self._mine.connection = None
            with contextlib.suppress(OSError):
                connection.close()
            raise
        if 300 <= answer.status < 500 and answer.status != TOO_MANY_REQUESTS:
            self._usable = False  # this store wants something that only botocore does
        return answer.headers.get("x-amz-version-id") if answer.status == 200 else None

    def _signed(self, key: str, body: bytes) -> AWSRequest:
        headers: dict[str, str] = {}
        if checksum := self._store.checksum(body).get("ChecksumSHA256"):
            headers["x-amz-checksum-sha256"] = checksum
        if storage_class := self._store.attributes(None).get("StorageClass"):
            headers["x-amz-storage-class"] = storage_class
        # by its path, not by a host name of the bucket's own: the one connection does for all, and dots do no harm
        url = f"{self._endpoint}/{self._store.bucket}/{quote(self._store.path(key), safe='/~')}"
        request = AWSRequest("PUT", url, headers, body)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._store.client.meta.region_name).add_auth(
            request
        )
        return request

    def _connection(self) -> HTTPConnection:
        connection: HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            host, port = self._address.hostname or "", self._address.port
            if self._address.scheme == "https":
                connection = HTTPSConnection(host, port, timeout=READ_SECONDS, context=self._tls)
            else:
                connection = HTTPConnection(host, port, timeout=READ_SECONDS)
            self._mine.connection = connection
        return connection
