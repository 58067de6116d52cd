"""What a backup builds on: the newest tree that is known, and what lies in the current state without being in it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.naming import is_backup_id
from backup_playbook.core.tree import Entry, FileType, current_folder
from backup_playbook.engines.files.shards import entries
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import objects_folder
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.s3errors import is_missing
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec

log = logging.getLogger(__name__)

_LEFT_OVER = "unknown"
"""In the place of a SHA-256: there is a content, and no backup says which."""


@dataclass(frozen=True)
class Base:
    """newest: id of the newest backup that is there, empty for none. known: the newest one whose tree can be read.

    trusted: what `known` stored may be relied on. clean: no run has written to the current state since.
    """

    newest: str = ""
    known: BackupReader | None = None
    trusted: bool = False
    clean: bool = False

    @property
    def known_id(self) -> str:
        return self.known.manifest.backup_id if self.known else ""

    def aside(self, backup_id: str) -> bool:
        """Whether that backup is older than the newest one, whose state the current state stays."""
        return self.newest > backup_id


def base_of(catalog: Catalog, source: str, codec: Codec, backup_id: str) -> Base:
    """Of the backup of that id. Raises VerificationError when the newest manifest was edited.

    Backups share what they store. Once one of them was rejected, everything is uploaded anew, by a backup that relies
    on no older one: what is wrong with those does not concern what follows. Which files there were is known all the
    same: losses are counted, and what is gone leaves the current state.
    """
    now = datetime.now(UTC)
    # one that a clock ahead has dated would stay the newest until that date
    backups = [entry for entry in catalog.backups(source) if not entry.misdated(now)]
    if not backups:
        return Base()
    newest = backups[0]
    manifest = catalog.manifest(source, newest.backup_id)
    for entry in backups:
        shared = entry.backup_id >= manifest.details.get("relies_on", "")
        if shared and entry.rejected:
            log.warning("%s is rejected: nothing stored is relied on.", entry.backup_id)
            return Base(newest.backup_id, _readable(catalog, backups, codec))
    started = {name for name in catalog.store.folders(objects_folder(source)) if is_backup_id(name)}
    cut_short = any(name > newest.backup_id for name in started - {backup_id})
    return Base(newest.backup_id, BackupReader(catalog.store, manifest, codec), trusted=True, clean=not cut_short)


def leftovers(store: ObjectStore, source: str) -> Iterator[Entry]:
    """What the current state has, as entries that say no more than path and size: see `is_leftover`.

    What no run of ours can have put there, such as folder markers, is left out.
    """
    folder = current_folder(source)
    before = b""
    for item in store.list(folder):
        path = item.key.removeprefix(folder).encode()
        if path <= before:
            # merged with a tree, what comes too late would look as if the tree did not have it
            log.warning("%s lists %s out of order: what earlier runs left there stays.", store.url, item.key)
            return
        before = path
        entry = Entry(path, FileType.FILE.value, size=item.bytes, sha256=_LEFT_OVER)
        if entry.natural_key and not path.endswith(b"/"):
            yield entry


def is_leftover(entry: Entry) -> bool:
    return entry.sha256 == _LEFT_OVER


def _readable(catalog: Catalog, backups: Iterable[CatalogEntry], codec: Codec) -> BackupReader | None:
    """The newest whose tree can be read to its end. Being rejected may have been for its tree."""
    for entry in backups:
        try:
            reader = BackupReader(catalog.store, catalog.manifest(entry.source, entry.backup_id), codec)
            for _ in entries(reader):
                pass
        except (VerificationError, RepositoryError) as error:
            if isinstance(error, RepositoryError) and not is_missing(error):
                raise
            log.warning("The tree of %s cannot be read: %s", entry.backup_id, error.what)
        else:
            return reader
    return None
