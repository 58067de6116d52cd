"""Upload of a stream of unknown length into one S3 object, with memory that does not grow with it.

Small streams are one PUT. Larger ones are a multipart upload: two parts are on their way while the next one fills.
S3 allows 10,000 parts: the first part size follows the caller's estimate, and doubles every 1,000 parts, so that a
wrong estimate ends at 8 TB instead of at 80 GB. Some stores demand equal parts: they are equal up to 64 GB, and at any
size where the repository has `equal_parts`.
"""

from __future__ import annotations

import base64
import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.s3errors import code_of, explained
from backup_playbook.repository.store import ObjectStore, sha256_base64
from backup_playbook.streams.blocks import Blocks, Digest, closing

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CopySourceTypeDef as CopySource

log = logging.getLogger(__name__)

MIB = 1 << 20
FIRST_PART_BYTES = 8 * MIB
EQUAL_PART_BYTES = 64 * MIB
LARGEST_PART_BYTES = 5 << 30
PARTS_BEFORE_GROWTH = 1000
PARTS_ALLOWED = 10_000
PARTS_PLANNED = 8_000
PARTS_IN_FLIGHT = 2


@dataclass(frozen=True)
class Uploaded:
    """A stored object."""

    bytes: int
    sha256: str
    store_checksum: str | None
    version: str
    """Empty where the bucket keeps none."""


def first_part_bytes(estimate: int, *, equal: bool = False) -> int:
    """Size of the first part for a stream of about `estimate` bytes; the estimate need not be right.

    Some three parts are in memory. equal: parts of one size, whatever the estimate; without an estimate, up to 64 GB.
    """
    same = min(LARGEST_PART_BYTES, estimate // (PARTS_BEFORE_GROWTH - 1) + 1)
    if equal:
        return max(EQUAL_PART_BYTES, same)
    return max(FIRST_PART_BYTES, min(same, EQUAL_PART_BYTES), estimate // PARTS_PLANNED)


def part_bytes(number: int, first: int) -> int:
    """Size of part `number` (from 1) when the first has `first` bytes."""
    return min(LARGEST_PART_BYTES, first << ((number - 1) // PARTS_BEFORE_GROWTH))


def upload(
    store: ObjectStore,
    key: str,
    blocks: Blocks,
    *,
    first_part: int = FIRST_PART_BYTES,
    tags: Mapping[str, str] | None = None,
) -> Uploaded:
    """Store a stream under `key`. On any failure, also of the stream itself, no object and no multipart is left."""
    with _Upload(store, key, first_part, tags or {}) as target, closing(blocks):
        for block in blocks:
            target.write(block)
        return target.complete()


def server_side_copy(
    origin: ObjectStore, target: ObjectStore, key: str, *, size: int, first_part: int, tags: Mapping[str, str]
) -> None:
    """Let one server copy an object between two of its buckets, in the parts in which it was uploaded.

    Equal parts give equal composite checksums, so that the manifest's still hold for the copy.
    """
    with _Upload(target, key, first_part, tags) as copy:
        copy.from_object(origin, size)


class _Upload:
    def __init__(self, store: ObjectStore, key: str, first_part: int, tags: Mapping[str, str]) -> None:
        self._store, self._key, self._first_part, self._tags = store, key, first_part, tags
        self._where: dict[str, Any] = {"Bucket": store.bucket, "Key": store.path(key)}
        self._buffer = bytearray()
        self._digest = Digest()
        self._upload_id = ""
        self._number = 0
        self._parts: list[dict[str, Any]] = []
        self._in_flight: deque[Future[dict[str, Any]]] = deque()
        self._threads = ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="s3-part")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        if error is not None and self._upload_id:
            self._abort()

    def write(self, block: bytes) -> None:
        self._digest.update(block)
        self._buffer += block
        while len(self._buffer) > (size := part_bytes(self._number + 1, self._first_part)):
            self._send(bytes(memoryview(self._buffer)[:size]))
            del self._buffer[:size]

    def complete(self) -> Uploaded:
        if not self._upload_id:
            stored = self._store.put(self._key, bytes(self._buffer), self._tags)
            return Uploaded(self._digest.bytes, self._digest.sha256, *stored)
        self._send(bytes(self._buffer))
        version = self._finish(self._digest.bytes)
        return Uploaded(self._digest.bytes, self._digest.sha256, self._composite_checksum(), version)

    def from_object(self, origin: ObjectStore, size: int) -> None:
        where: CopySource = {"Bucket": origin.bucket, "Key": origin.path(self._key)}
        if size <= self._first_part:
            with explained(f"copy {origin.url}/{self._key} to {self._store.url}"):
                # without the directive the copy would keep the origin's tags
                tags: dict[str, Any] = {"TaggingDirective": "REPLACE"} if self._store.options.object_tags else {}
                self._store.client.copy_object(
                    **self._where,
                    CopySource=where,
                    **tags,
                    **self._store.attributes(self._tags),
                )
            return
        self._begin()
        start = 0
        while start < size:
            self._number += 1
            end = min(size, start + part_bytes(self._number, self._first_part))
            self._submit(self._copy_part, self._number, where, f"bytes={start}-{end - 1}")
            start = end
        self._finish(size)

    def _finish(self, size: int) -> str:
        while self._in_flight:
            self._collect()
        with explained(f"complete the upload of {self._store.url}/{self._key}"):
            try:
                answer = self._store.client.complete_multipart_upload(
                    **self._where,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": self._parts},  # type: ignore[typeddict-item]
                )
            except ClientError as error:
                # when the answer was lost, the next try finds the upload gone, and the object there
                if code_of(error) != "NoSuchUpload":
                    raise
                found = self._store.client.head_object(**self._where)
                if found["ContentLength"] != size:
                    raise
                version = found.get("VersionId", "")
            else:
                version = answer.get("VersionId", "")
        self._upload_id = ""
        return version

    def _send(self, body: bytes) -> None:
        if not self._upload_id:
            self._begin()
        if self._number == PARTS_ALLOWED:
            raise RepositoryError(
                f"{self._store.url}/{self._key} needs more than {PARTS_ALLOWED} parts, which S3 does not allow.",
                "Raise compression_level of this source, or split its largest table into partitions.",
            )
        self._number += 1
        self._submit(self._put_part, self._number, body)

    def _submit(self, send: Callable[..., dict[str, Any]], *arguments: object) -> None:
        if len(self._in_flight) == PARTS_IN_FLIGHT:
            self._collect()
        self._in_flight.append(self._threads.submit(send, *arguments))

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

    def _copy_part(self, number: int, where: CopySource, part: str) -> dict[str, Any]:
        with explained(f"copy part {number} of {self._store.url}/{self._key}"):
            answer = self._store.client.upload_part_copy(
                **self._where,
                UploadId=self._upload_id,
                PartNumber=number,
                CopySource=where,
                CopySourceRange=part,
            )
        result = answer["CopyPartResult"]
        checksum = {"ChecksumSHA256": result["ChecksumSHA256"]} if "ChecksumSHA256" in result else {}
        return {"PartNumber": number, "ETag": result["ETag"], **checksum}

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
