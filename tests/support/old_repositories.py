"""Repositories that earlier releases have written (tests/fixtures/old_repositories), in the S3 gateway of the tests.

A backup of files names the versions of its contents, and no request can give a version an id. So the archives hold the
gateway's own files, with what it keeps in their extended attributes.
"""

import json
import os
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from backup_playbook.core.naming import backup_time
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from embedded.s3 import S3Gateway, _has_extended_attributes

ARCHIVES = Path(__file__).parents[1] / "fixtures" / "old_repositories"
RELEASES = tuple(sorted(path.name.partition(".")[0] for path in ARCHIVES.glob("*.tar.gz")))
"""By the commit that wrote them."""
REPOSITORIES = ("primary", "offsite")
PREFIX = "playbook/"
_ATTRIBUTE = "SCHILY.xattr."


@dataclass(frozen=True)
class OldRepositories:
    """backups: ids by source and by what became of them: `held`, `restored`, `rejected`, ... and `newest`."""

    s3: S3Gateway
    release: str
    catalogs: dict[str, Catalog]
    backups: dict[str, dict[str, str]]
    passphrase: str

    @property
    def now(self) -> datetime:
        """A day after the last backup."""
        return max(backup_time(one) for ids in self.backups.values() for one in ids.values()) + timedelta(days=1)

    def stored_file(self, repository: str, key: str) -> Path:
        """Where the gateway keeps an object."""
        store = self.catalogs[repository].store
        return self.s3.buckets / store.bucket / store.path(key)


def documents(release: str, folder: str) -> dict[str, bytes]:
    """The current objects below a folder of the repositories, `<repository>/<key>`, as they are in the archive."""
    found = {}
    for name, content, _ in _members(release):
        top, _, rest = name.partition("/")
        repository, _, path = rest.partition("/")
        if top == "buckets" and (key := path.removeprefix(PREFIX)).startswith(folder):
            found[f"{repository}/{key}"] = content
    return found


def load(release: str, s3: S3Gateway) -> OldRepositories:
    """Put them into new buckets."""
    unique = uuid.uuid4().hex[:8]
    buckets = {name: f"old-{name}-{unique}" for name in REPOSITORIES}
    for bucket in buckets.values():
        s3.create_bucket(bucket, versions=True)
    facts = {}
    for name, content, member in _members(release):
        if name == "facts.json":
            facts = json.loads(content)
            continue
        top, repository, rest = name.split("/", 2)
        file = s3.directory / top / buckets[repository] / rest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        for header, value in member.pax_headers.items():
            if header.startswith(_ATTRIBUTE):
                _set_attribute(s3, file, header.removeprefix(_ATTRIBUTE), value.encode())
        os.utime(file, (member.mtime, member.mtime))
    client = s3.client(client_config(4))
    catalogs = {
        name: Catalog(ObjectStore(client, bucket=bucket, prefix=PREFIX.rstrip("/"), name=name))
        for name, bucket in buckets.items()
    }
    return OldRepositories(s3, release, catalogs, facts["backups"], facts["passphrase"])


def _members(release: str) -> Iterator[tuple[str, bytes, tarfile.TarInfo]]:
    with tarfile.open(ARCHIVES / f"{release}.tar.gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content
            yield member.name, content.read(), member


def _set_attribute(s3: S3Gateway, file: Path, name: str, value: bytes) -> None:
    """As the gateway does it, which has files for them where the file system has no attributes."""
    if _has_extended_attributes(s3.buckets):
        os.setxattr(file, name, value)
        return
    # versions are looked for by their whole path
    place = file.relative_to(s3.buckets if file.is_relative_to(s3.buckets) else "/")
    folder = s3.directory / "metadata" / place / "meta"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name.removeprefix("user.")).write_bytes(value)
