"""Base of a backup: the newest known tree, and strays that the current state holds without being in it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from backup_playbook.core.errors import PlaybookError, RepositoryError, VerificationError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.naming import is_backup_id
from backup_playbook.core.tree import Entry, FileType, current_folder
from backup_playbook.engines.files.details import FilesDetails
from backup_playbook.engines.files.shards import entries
from backup_playbook.repository.catalog import Catalog, CatalogEntry, reached
from backup_playbook.repository.layout import EvidenceName, objects_folder
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.s3errors import is_missing
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import list_versions
from backup_playbook.streams.codec import Codec

log = logging.getLogger(__name__)

CURRENT_DIFFERS = "current-differs"
"""Mark beside the objects of the newest backup: its verification found another current state."""

EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Base:
    """Earlier backups that a new one builds on.

    newest: id of the newest backup, empty for none. known: the newest one whose tree can be read.
    trusted: `known` may be relied on. clean: the current state is as `newest` left it, as far as is known.
    since: this backup may need what was stored in the current state after this time.
    """

    newest: str = ""
    known: BackupReader | None = None
    trusted: bool = False
    clean: bool = False
    since: datetime = EVER

    @property
    def known_id(self) -> str:
        """Id of the known backup; empty for none."""
        return self.known.manifest.backup_id if self.known else ""

    def outdates(self, backup_id: str) -> bool:
        """Check whether that backup is older than the newest one, whose state the current state stays."""
        return self.newest > backup_id


def base_of(catalog: Catalog, source: str, codec: Codec, backup_id: str, *, whole: bool = False) -> Base:
    """Find the base of the backup of that id. whole: read the newest tree to its end, to see whether it can be.

    Backups share what they store. Once one was rejected, or the newest is damaged, a backup that relies on no older one
    uploads everything anew. The files that there were are still known: losses are counted, and files that are gone
    leave the current state. A repair makes one backup whole, and not others that name the damaged objects: the newest
    must have been read since.
    """
    backups = taken(catalog, source)
    if not backups:
        return Base()
    newest = backups[0]
    reader = readable(catalog, [newest], codec, whole=whole)
    if reader is None:
        log.warning("%s, the newest backup, is damaged: nothing stored is relied on.", newest.backup_id)
        return Base(newest.backup_id, readable(catalog, backups[1:], codec), since=newest.taken_at)
    for entry in backups:
        shared = entry.backup_id >= FilesDetails.of(reader.manifest).relies_on
        if shared and _casts_doubt(entry, newest):
            log.warning("%s is, or was, rejected: nothing stored is relied on.", entry.backup_id)
            return Base(newest.backup_id, readable(catalog, backups, codec), since=entry.last_read(datetime.now(UTC)))
    differs = catalog.store.exists(objects_folder(source, newest.backup_id) + CURRENT_DIFFERS)
    clean = not differs and not later_runs(catalog.store, source, newest.backup_id) - {backup_id}
    return Base(newest.backup_id, reader, trusted=True, clean=clean, since=newest.taken_at)


def _casts_doubt(entry: CatalogEntry, newest: CatalogEntry) -> bool:
    read = [one for one in newest.evidence if one.kind is EvidenceKind.VERIFIED]

    def is_answered(found: EvidenceName) -> bool:
        return any(one.at >= found.at and reached(one.kind, one.qualifier, [found]) for one in read)

    rejections = [one for one in entry.evidence if one.kind is EvidenceKind.REJECTED]
    return entry.rejected or not all(map(is_answered, rejections))


def taken(catalog: Catalog, source: str) -> list[CatalogEntry]:
    """List backups, newest first, without those dated by a clock ahead: they would stay the newest until then."""
    now = datetime.now(UTC)
    return [entry for entry in catalog.backups(source) if not entry.misdated(now)]


def later_runs(store: ObjectStore, source: str, backup_id: str) -> set[str]:
    """List later runs that have stored something: they may have written to the current state."""
    return {name for name in store.folders(objects_folder(source)) if is_backup_id(name) and name > backup_id}


class Found(NamedTuple):
    """A file in the current state, as listed. recent: a run that was cut short may have stored it."""

    path: bytes
    version: str
    size: int
    recent: bool

    @property
    def as_entry(self) -> Entry:
        """Entry to remove when the tree has no such path."""
        return Entry(self.path, FileType.FILE.value, size=self.size, sha256="unknown")


class CurrentState:
    """Listing of the current state in the order of paths, without strangers' objects. Iterated once.

    since: later files are `recent`. whole: all of it was seen; in another order, late paths would look missing.
    """

    def __init__(self, store: ObjectStore, source: str, since: datetime) -> None:
        self._store, self._source, self._since = store, source, since.replace(microsecond=0)  # as stores tell it
        self.whole = True

    def __iter__(self) -> Iterator[Found]:
        folder = current_folder(self._source)
        before = b""
        for item in list_versions(self._store, folder):
            path = item.path.removeprefix(folder).encode()
            if not item.latest or item.deleted or path == before:
                continue
            if path < before:
                log.warning("%s lists %s out of order: the rest is not looked at.", self._store.url, item.path)
                self.whole = False
                return
            before = path
            if may_be_ours(path):
                yield Found(path, item.version, item.bytes, item.modified >= self._since)


def may_be_ours(path: bytes) -> bool:
    """Check whether a run can have stored it in the current state: folder markers and confusing keys, none can."""
    return Entry(path, FileType.FILE).natural_key and not path.endswith(b"/")


def is_damage(error: PlaybookError) -> bool:
    """Check whether stored data is gone or changed; data that cannot be read now may be sound."""
    return isinstance(error, VerificationError) or (isinstance(error, RepositoryError) and is_missing(error))


def readable(
    catalog: Catalog, backups: Iterable[CatalogEntry], codec: Codec, *, whole: bool = True
) -> BackupReader | None:
    """Open the first backup whose manifest, and, if `whole`, tree can be read to its end. None when there is none."""
    for entry in backups:
        try:
            reader = BackupReader(catalog.store, catalog.manifest(entry.source, entry.backup_id), codec)
            for _ in entries(reader) if whole else ():
                pass
        except PlaybookError as error:
            if not is_damage(error):
                raise
            log.warning("%s cannot be read: %s", entry.backup_id, error.what)
        else:
            return reader
    return None
