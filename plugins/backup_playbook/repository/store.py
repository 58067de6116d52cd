"""One bucket and prefix of an S3-compatible object store; the only module that sends S3 requests.

Keys are relative to the prefix: nothing outside of it can be read, written or deleted.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from backup_playbook.core.errors import AlreadySealedError, RepositoryError
from backup_playbook.repository.client import be_patient
from backup_playbook.repository.listing import LISTED, fast_listing
from backup_playbook.repository.s3errors import code_of, explained
from backup_playbook.streams.blocks import BLOCK_BYTES

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

log = logging.getLogger(__name__)

READ_RESUMES = 5
LISTED_PER_PAGE = 1000
DELETED_AT_ONCE = 1000
DELETES_IN_FLIGHT = 8
LACKS_DELETE_OBJECTS = ("NotImplemented", "MethodNotAllowed", "InvalidArgument", "InvalidRequest", "MalformedXML")
"""Answers of stores without DeleteObjects, such as Google's."""


@dataclass(frozen=True)
class StoreOptions:
    """Peculiarities of an S3 compatible; see repositories.yaml."""

    storage_class: str = "STANDARD"
    conditional_writes: bool = True
    checksums: bool = True
    object_tags: bool = True
    server_side_encryption: str = ""
    kms_key_id: str = ""
    equal_parts: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of PutObject for each new object: ContentType, Metadata, ..."""


class Listed(NamedTuple):
    """An object of a listing."""

    key: str
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class StaleUpload:
    """An unfinished multipart upload."""

    key: str
    upload_id: str
    last_activity: datetime


class Put(NamedTuple):
    """The store's answer to a write. `version` is empty where the bucket keeps none."""

    checksum: str | None
    version: str


class ObjectStore:
    """A prefix in a bucket. Every method raises RepositoryError with a remedy when the store refuses or fails."""

    def __init__(
        self, client: S3Client, *, bucket: str, prefix: str, name: str = "", options: StoreOptions | None = None
    ) -> None:
        self.client = client
        fast_listing(client)
        be_patient(client)
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.name = name or bucket
        self.options = options or StoreOptions()
        self._deletes_one_by_one = False

    @property
    def url(self) -> str:
        """Place of the prefix, for messages."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def path(self, key: str) -> str:
        """Full key in the bucket. Raises ValueError for a key outside of the prefix."""
        if key.startswith("/") or ".." in key.split("/"):
            raise ValueError(f"{key!r} leaves the prefix {self.prefix!r}")
        return self.prefix + key

    def check(self) -> None:
        """Raise unless bucket and credentials work."""
        with explained(f"use the bucket {self.bucket} of repository {self.name!r}"):
            self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)

    # reading

    def get(self, key: str) -> bytes:
        """Read a small object as a whole."""
        return b"".join(self.read(key))

    def read(self, key: str, version: str = "") -> Iterator[bytes]:
        """Stream an object, or one version of it. A connection that is cut is resumed where it was cut."""
        return self.read_with_headers(key, version, {})

    def read_with_headers(self, key: str, version: str, headers: dict[str, Any]) -> Iterator[bytes]:
        """Stream an object, and fill `headers` with the store's answer about it."""
        where: dict[str, Any] = {"Bucket": self.bucket, "Key": self.path(key), **version_field(version)}
        with explained(f"read {self.url}/{key}{f' (version {version})' if version else ''}"):
            answer = self.client.get_object(**where)
            size, etag = answer["ContentLength"], answer["ETag"]
            headers.update(answer)
            offset = failures = 0
            while True:
                try:
                    with contextlib.closing(answer["Body"]) as body:
                        while block := body.read(BLOCK_BYTES):
                            offset, failures = offset + len(block), 0
                            yield block
                    return
                except (HTTPClientError, IncompleteReadError) as error:
                    failures += 1
                    if failures > READ_RESUMES or offset >= size:
                        raise
                    log.warning("Reading %s was cut at byte %d (%s): going on from there.", key, offset, error)
                answer = self.client.get_object(**where, Range=f"bytes={offset}-", IfMatch=etag)

    def list(self, prefix: str, *, after: str = "", before: str = "") -> Iterator[Listed]:
        """Objects below a key prefix, in key order; a request every LISTED_PER_PAGE keys.

        after, before: only keys between these two (both exclusive), where a long listing is split.
        """
        start = {"StartAfter": self.path(after)} if after else {}
        for page in self._pages(prefix, **start):
            for path, size, modified in page[LISTED]:
                key = path[len(self.prefix) :]
                if before and key >= before:
                    return
                yield Listed(key, size, modified)

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders directly below `prefix/`."""
        for page in self._pages(prefix, Delimiter="/"):
            for item in page.get("CommonPrefixes", ()):
                yield item["Prefix"][len(self.prefix) + len(prefix) :].rstrip("/")

    def stored_checksum(self, key: str, version: str = "") -> tuple[int, str | None]:
        """Size in bytes, and the store's own SHA-256 when it keeps one (see StoredObject.store_checksum)."""
        with explained(f"look up {self.url}/{key}"):
            answer = self.client.head_object(
                Bucket=self.bucket, Key=self.path(key), ChecksumMode="ENABLED", **version_field(version)
            )
        return answer["ContentLength"], answer.get("ChecksumSHA256")

    def storage_class(self, key: str) -> str:
        """Current storage class, which lifecycle rules of the bucket change; empty when there is no such object."""
        with explained(f"look up {self.url}/{key}"):
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=self.path(key))
            except ClientError as error:
                if code_of(error) in ("NoSuchKey", "NotFound"):
                    return ""
                raise
        return answer.get("StorageClass", "STANDARD")

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return self.storage_class(key) != ""

    # writing

    def put(self, key: str, body: bytes, tags: Mapping[str, str] | None = None) -> Put:
        """Write a small object, in one request."""
        with explained(f"write {self.url}/{key}"):
            answer = self.client.put_object(
                Bucket=self.bucket, Key=self.path(key), Body=body, **self.attributes(tags), **self.checksum(body)
            )
        return Put(sha256_base64(body) if self.options.checksums else None, answer.get("VersionId", ""))

    def put_once(self, key: str, body: bytes) -> None:
        """Write `key` only if nothing is there. Raises AlreadySealedError when something else is."""
        if not self.options.conditional_writes:
            # the documented fallback: not atomic, but a store without If-None-Match offers nothing better
            if self.exists(key):
                self._accept_own(key, body)
            else:
                self.put(key, body)
            return
        with explained(f"write {self.url}/{key}"):
            try:
                self.client.put_object(
                    Bucket=self.bucket,
                    Key=self.path(key),
                    Body=body,
                    IfNoneMatch="*",
                    **self.encryption(),
                    **self.checksum(body),
                )
            except ClientError as error:
                if code_of(error) not in ("PreconditionFailed", "ConditionalRequestConflict"):
                    raise
                self._accept_own(key, body)

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of an object; do nothing where the store has no tags."""
        if self.options.object_tags:
            with explained(f"tag {self.url}/{key}"):
                pairs = [{"Key": name, "Value": value} for name, value in tags.items()]
                self.client.put_object_tagging(Bucket=self.bucket, Key=self.path(key), Tagging={"TagSet": pairs})  # type: ignore[typeddict-item]

    def delete(self, keys: Iterable[str]) -> int:
        """Delete objects, and return their number; objects that are already gone count."""
        count, rest = 0, (self.path(key) for key in keys)
        while batch := list(islice(rest, DELETED_AT_ONCE)):
            errors = self.delete_at_once([{"Key": path} for path in batch])
            if errors:
                first = errors[0]
                raise RepositoryError(
                    f"{len(errors)} of {len(batch)} objects in {self.url} could not be deleted, first "
                    f"{first.get('Key')}: {first.get('Code')} {first.get('Message', '')}".rstrip(),
                    "Grant s3:DeleteObject on the prefix; locked objects go when their retention ends.",
                )
            count += len(batch)
        return count

    def delete_at_once(self, named: Sequence[Any]) -> Sequence[Any]:
        """Delete objects in one request where the store can do that, else one by one.

        named: Key, and VersionId, of each. Returns the refusals, with Key, Code and Message.
        """
        with explained(f"delete from {self.url}"):
            if not self._deletes_one_by_one:
                try:
                    answer = self.client.delete_objects(
                        Bucket=self.bucket, Delete={"Objects": list(named), "Quiet": True}
                    )
                    return answer.get("Errors", ())
                except ClientError as error:
                    if code_of(error) not in LACKS_DELETE_OBJECTS:
                        raise
                    log.info("%s cannot delete many objects in one request (%s).", self.url, code_of(error))
                    self._deletes_one_by_one = True
            with ThreadPoolExecutor(DELETES_IN_FLIGHT, thread_name_prefix="s3-delete") as threads:
                # the versions of a key one after the other: not every store keeps them apart
                of_keys = [list(items) for _, items in groupby(named, key=lambda one: one["Key"])]
                return list(chain.from_iterable(threads.map(self._delete, of_keys)))

    def _delete(self, named: Sequence[Any]) -> Sequence[Any]:
        refused = []
        for one in named:
            try:
                self.client.delete_object(Bucket=self.bucket, **one)
            except ClientError as error:
                if code_of(error) not in ("NoSuchKey", "NoSuchVersion"):
                    refused.append({"Key": one["Key"], **error.response.get("Error", {})})
        return refused

    # unfinished multipart uploads

    def unfinished_uploads(self, prefix: str) -> Iterator[StaleUpload]:
        """Multipart uploads below a key prefix, each with the time at which its newest part arrived."""
        with explained(f"list the unfinished uploads of {self.url}"):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self.path(prefix)
            )
            for item in (item for page in pages for item in page.get("Uploads", ())):
                times = [item["Initiated"], *self._part_times(item["Key"], item["UploadId"])]
                yield StaleUpload(item["Key"][len(self.prefix) :], item["UploadId"], max(times))

    def _part_times(self, path: str, upload_id: str) -> Iterator[datetime]:
        pages = self.client.get_paginator("list_parts").paginate(Bucket=self.bucket, Key=path, UploadId=upload_id)
        try:
            for page in pages:
                yield from (part["LastModified"] for part in page.get("Parts", ()))
        except ClientError as error:
            # it was completed or aborted in the meantime: another backup is running
            if code_of(error) != "NoSuchUpload":
                raise

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload; do nothing when it is already gone."""
        with explained(f"abort the unfinished upload of {self.url}/{key}"):
            try:
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=self.path(key), UploadId=upload_id)
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise

    # for uploads

    def encryption(self) -> dict[str, Any]:
        """Request fields that tell the store how to encrypt a new object; a bucket may demand them."""
        found = {"ServerSideEncryption": self.options.server_side_encryption, "SSEKMSKeyId": self.options.kms_key_id}
        return {name: value for name, value in found.items() if value}

    def attributes(self, tags: Mapping[str, str] | None) -> dict[str, Any]:
        """Request fields of a new object: encryption, storage class, tags, and those of the options."""
        found = {**self.options.fields, **self.encryption()}
        if not self.options.object_tags:
            found.pop("Tagging", None)
        if self.options.storage_class != "STANDARD":
            found["StorageClass"] = self.options.storage_class
        if tags and self.options.object_tags:
            found["Tagging"] = urllib.parse.urlencode(tags)
        return found

    def checksum(self, body: bytes) -> dict[str, Any]:
        """Request fields that make the store refuse a body that changed on the way."""
        return {"ChecksumSHA256": sha256_base64(body)} if self.options.checksums else {}

    def _accept_own(self, key: str, body: bytes) -> None:
        """Accept a key that holds the same content: a write whose answer was lost is tried again, and finds itself."""
        if self.get(key) != body:
            raise AlreadySealedError(
                f"{self.url}/{key} exists already and was written by another run.",
                "Nothing was overwritten. If two schedulers run the same DAG, stop one; then run this task again.",
            )

    def _pages(self, prefix: str, **request: Any) -> Iterator[Any]:
        with explained(f"list {self.url}/{prefix}"):
            yield from self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix, **request
            )


def version_field(version: str) -> dict[str, Any]:
    """Request fields that name a version; none for the newest."""
    return {"VersionId": version} if version else {}


def sha256_base64(body: bytes) -> str:
    """SHA-256 in base64, as S3 writes checksums."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
