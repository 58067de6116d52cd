"""A stream of unknown length into one S3 object, with memory that does not grow with it.

Small streams are one PUT. Larger ones are a multipart upload: two parts are on their way while the next one fills.
S3 allows 10,000 parts: the first part size follows the caller's estimate, and doubles every 1,000 parts, so that a
wrong estimate ends at 8 TB instead of at 80 GB. (Stores that demand equal parts get them up to 8 GB stored per stream.)
"""

from __future__ import annotations

import base64
import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.s3errors import explained
from backup_playbook.repository.store import ObjectStore, sha256_base64
from backup_playbook.streams.blocks import Blocks, Digest

log = logging.getLogger(__name__)

MIB = 1 << 20
FIRST_PART_BYTES = 8 * MIB
LARGEST_PART_BYTES = 5 << 30
PARTS_BEFORE_GROWTH = 1000
PARTS_ALLOWED = 10_000
PARTS_PLANNED = 8_000
PARTS_IN_FLIGHT = 2


@dataclass(frozen=True)
class Uploaded:
    bytes: int
    sha256: str
    store_checksum: str | None


def upload(
    store: ObjectStore, key: str, blocks: Blocks, *, estimate: int = 0, tags: Mapping[str, str] | None = None
) -> Uploaded:
    """Store a stream under `key`. On any failure, also of the stream itself, no object and no multipart is left.

    `estimate` (bytes) sets the first part size for very long streams; it need not be right.
    """
    with _Upload(store, key, estimate, tags or {}) as target:
        for block in blocks:
            target.write(block)
        return target.complete()


def part_bytes(number: int, estimate: int) -> int:
    """Size of part `number` (from 1) for a stream that was estimated at `estimate` bytes."""
    first = max(FIRST_PART_BYTES, estimate // PARTS_PLANNED)
    return min(LARGEST_PART_BYTES, first << ((number - 1) // PARTS_BEFORE_GROWTH))


class _Upload:
    def __init__(self, store: ObjectStore, key: str, estimate: int, tags: Mapping[str, str]) -> None:
        self._store, self._key, self._estimate, self._tags = store, key, estimate, tags
        self._where = {"Bucket": store.bucket, "Key": store.path(key)}
        self._buffer = bytearray()
        self._digest = Digest()
        self._upload_id = ""
        self._number = 0
        self._parts: list[dict[str, Any]] = []
        self._in_flight: deque[Future[dict[str, Any]]] = deque()
        self._threads = ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="s3-part")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        if error is not None and self._upload_id:
            self._abort()

    def write(self, block: bytes) -> None:
        self._digest.update(block)
        self._buffer += block
        while len(self._buffer) > (size := part_bytes(self._number + 1, self._estimate)):
            self._send(bytes(memoryview(self._buffer)[:size]))
            del self._buffer[:size]

    def complete(self) -> Uploaded:
        if not self._upload_id:
            checksum = self._store.put(self._key, bytes(self._buffer), self._tags)
            return Uploaded(self._digest.bytes, self._digest.sha256, checksum)
        self._send(bytes(self._buffer))
        while self._in_flight:
            self._collect()
        with explained(f"complete the upload of {self._store.url}/{self._key}"):
            self._store.client.complete_multipart_upload(
                **self._where,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},  # type: ignore[typeddict-item]
            )
        self._upload_id = ""
        return Uploaded(self._digest.bytes, self._digest.sha256, self._composite_checksum())

    def _send(self, body: bytes) -> None:
        if not self._upload_id:
            self._begin()
        if self._number == PARTS_ALLOWED:
            raise RepositoryError(
                f"{self._store.url}/{self._key} needs more than {PARTS_ALLOWED} parts, which S3 does not allow.",
                "Raise compression_level of this source, or split its largest table into partitions.",
            )
        self._number += 1
        if len(self._in_flight) == PARTS_IN_FLIGHT:
            self._collect()
        self._in_flight.append(self._threads.submit(self._put_part, self._number, body))

    def _begin(self) -> None:
        checksum: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if self._store.options.checksums else {}
        with explained(f"start the upload of {self._store.url}/{self._key}"):
            answer = self._store.client.create_multipart_upload(
                **self._where, **self._store.attributes(self._tags), **checksum
            )
        self._upload_id = answer["UploadId"]

    def _put_part(self, number: int, body: bytes) -> dict[str, Any]:
        checksum = self._store.checksum(body)
        with explained(f"upload part {number} of {self._store.url}/{self._key}"):
            answer = self._store.client.upload_part(
                **self._where, UploadId=self._upload_id, PartNumber=number, Body=body, **checksum
            )
        return {"PartNumber": number, "ETag": answer["ETag"], **checksum}

    def _collect(self) -> None:
        self._parts.append(self._in_flight.popleft().result())

    def _composite_checksum(self) -> str | None:
        if not self._store.options.checksums:
            return None
        digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in self._parts)
        return f"{sha256_base64(digests)}-{len(self._parts)}"

    def _abort(self) -> None:
        try:
            self._store.abort_upload(self._key, self._upload_id)
        except RepositoryError as error:
            # the first failure is the one to report; the sweep removes what stays behind
            log.warning("%s The sweep will remove it.", error.what)
