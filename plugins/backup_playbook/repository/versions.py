"""Versions that a bucket keeps of its objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.listing import LISTED, ListedVersion
from backup_playbook.repository.s3errors import explained
from backup_playbook.repository.store import DELETED_AT_ONCE, ObjectStore


class Version(NamedTuple):
    """One version of an object."""

    key: str
    version: str


NO_VERSIONS = ("", "null")
"""Answers of a store that keeps no versions, where the id of one would be."""
_NEEDED = "the backups of files are versions of its objects, and the next run would overwrite the last one"


def require_versioning(store: ObjectStore, why: str = _NEEDED) -> None:
    """Raise RepositoryError unless the bucket keeps objects that are overwritten or deleted."""
    with explained(f"ask whether the bucket {store.bucket} keeps versions"):
        status = store.client.get_bucket_versioning(Bucket=store.bucket).get("Status", "off")
    if status != "Enabled":
        raise RepositoryError(
            f"The versioning of the bucket {store.bucket} is {status.lower()}: {why}.",
            f"Switch it on: aws s3api put-bucket-versioning --bucket {store.bucket} "
            "--versioning-configuration Status=Enabled",
        )


def list_versions(store: ObjectStore, prefix: str) -> Iterator[ListedVersion]:
    """Versions and delete markers below a key prefix, in key order, those of a key together.

    `path` is relative to the repository. Each comes once: versitygw repeats the last one of a page on the next page.
    """
    path, known = "", set[tuple[str, bool]]()
    with explained(f"list the versions of {store.url}/{prefix}"):
        pages = store.client.get_paginator("list_object_versions").paginate(
            Bucket=store.bucket, Prefix=store.prefix + prefix
        )
        for page in pages:
            # some compatibles list the versions of a page first, and then its delete markers
            for item in sorted(page[LISTED], key=lambda one: one.path):  # type: ignore[literal-required]
                if item.path != path:
                    path, known = item.path, set()
                if (this := (item.version, item.deleted)) not in known:
                    known.add(this)
                    yield item._replace(path=item.path[len(store.prefix) :])


def delete_versions(store: ObjectStore, versions: Iterable[Version]) -> int:
    """Remove versions and delete markers for good, and return their number; those already gone count."""
    count, rest = 0, iter(versions)
    while batch := list(islice(rest, DELETED_AT_ONCE)):
        named = [{"Key": store.path(item.key), "VersionId": item.version} for item in batch]
        if errors := store.delete_at_once(named):
            raise RepositoryError(
                f"{len(errors)} of {len(named)} versions in {store.url} could not be deleted, first "
                f"{errors[0].get('Key')}: {errors[0].get('Code')} {errors[0].get('Message', '')}".rstrip(),
                "Grant s3:DeleteObjectVersion on the prefix; locked versions go when their retention ends.",
            )
        count += len(named)
    return count


def copy_version(store: ObjectStore, origin: Version, key: str) -> str:
    """Let the store copy a version of at most 5 GiB to another key; returns the new version."""
    checksum = {"ChecksumAlgorithm": "SHA256"} if store.options.checksums else {}
    with explained(f"copy {store.url}/{origin.key} to {key}"):
        answer = store.client.copy_object(
            Bucket=store.bucket,
            Key=store.path(key),
            CopySource={"Bucket": store.bucket, "Key": store.path(origin.key), "VersionId": origin.version},
            **store.attributes(None),
            **checksum,  # type: ignore[arg-type]
        )
    return answer.get("VersionId", "")
