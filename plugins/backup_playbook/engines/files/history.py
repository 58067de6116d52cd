"""The versions of a file, and the backup that names one of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from backup_playbook.core.errors import PlaybookError, RestoreError
from backup_playbook.core.tree import Entry, FileType, current_folder, key_of
from backup_playbook.engines.files.base import readable
from backup_playbook.engines.files.shards import below
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import list_versions
from backup_playbook.streams.codec import Codec

log = logging.getLogger(__name__)

VERSIONS_SHOWN = 1_000


class FileVersion(NamedTuple):
    """A stored version of a file. deleted: a marker of its deletion. current: the newest of its path."""

    path: str
    version: str
    stored_at: datetime
    bytes: int
    current: bool
    deleted: bool


def versions_of(store: ObjectStore, source: str, path: str) -> list[FileVersion]:
    """List versions of a file, newest first; of a folder, with a slash at its end, those of all files below, by path.

    At most VERSIONS_SHOWN. Raises RestoreError when there are none.
    """
    found = sorted(
        islice(_versions(store, source, path), VERSIONS_SHOWN),
        # the store knows better than its clock which is the newest
        key=lambda one: (one.path, not one.current, -one.stored_at.timestamp()),
    )
    if not found:
        raise RestoreError(
            f"{source} has no version of {path!r}, and never had one that is still kept.",
            "Write the path relative to the source, and a folder with a slash at its end, which lists what is in it.",
        )
    return found


def backup_with(catalog: Catalog, source: str, path: str, version: str) -> str:
    """Find the newest backup with this version of the file. Raises RestoreError when there is none."""
    for backup in catalog.backups(source):
        reader = None if backup.rejected else readable(catalog, [backup], Codec(), whole=False)
        if reader and any(entry.version == version for entry in below(reader, path.encode(), _unusable)):
            return backup.backup_id
    raise RestoreError(
        f"No backup of {source} has {path!r} in the version {version}.",
        "Take the version from list_file_versions, with its path. One that was stored by a run that never ended is in "
        "no backup: fetch it with `aws s3api get-object --version-id`.",
    )


def _unusable(error: PlaybookError) -> None:
    log.warning("%s", error.what)


def _versions(store: ObjectStore, source: str, path: str) -> Iterator[FileVersion]:
    folder = current_folder(source)
    file = Entry(path.encode(), FileType.FILE)
    keys = [folder + path]
    if not path.endswith("/"):
        keys.append(key_of(source, file._replace(hashed_key=True)))
    for key in keys:
        for item in list_versions(store, key):
            if item.path == key or path.endswith("/"):
                name = item.path.removeprefix(folder) if item.path.startswith(folder) else path
                yield FileVersion(name, item.version, item.modified, item.bytes, item.latest, item.deleted)
