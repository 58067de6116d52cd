"""Verification of the versions that a backup names: still in the bucket, and unchanged."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from backup_playbook.core.errors import RepositoryError, RestoreError, VerificationError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.tree import Entry, current_folder, key_of
from backup_playbook.engines.files.base import CURRENT_DIFFERS, later_runs, may_be_ours, taken
from backup_playbook.engines.files.batches import in_order
from backup_playbook.engines.files.details import FilesDetails
from backup_playbook.engines.files.shards import entries
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import objects_folder
from backup_playbook.repository.listing import ListedVersion
from backup_playbook.repository.objects import BackupReader, UnreadableObjects, no_checksum
from backup_playbook.repository.s3errors import is_missing, is_of_object
from backup_playbook.repository.small_objects import SmallObjects
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import NO_VERSIONS, list_versions
from backup_playbook.streams.blocks import Blocks, Digest, drain, tap
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)

WINDOW = 1_000
DIFFERING_NAMED = 10
PROBLEMS_TOLD = 1_000
"""Most problems that are reported: in a tree that is gone, not every file is one of its own."""
_REMEDY = (
    "The next backup relies on nothing that is stored, and uploads every file again. Meanwhile use an older backup or "
    "the off-site copy, and find out who wrote to the bucket, or whether its disk is failing."
)


def check_versions(
    reader: BackupReader, streams: int, cancellation: Cancellation, *, read: bool
) -> list[VerificationError]:
    """Check the sizes of all versions, and the contents of those that no verified backup stored.

    A backup that read every file at its source is read whole as well: shared contents are read again as often as
    `rehash_every` says. read: compare contents; else the store's checksums.
    """
    whole = FilesDetails.of(reader.manifest).runs_since_rehash == 0
    source, stored = reader.manifest.source, SmallObjects(reader.store)
    # also of a backup whose own verification never came to its end, or that was repaired: others name what was damaged
    backups = taken(Catalog(reader.store), source)
    unread = {one.backup_id for one in backups if not one.verified or one.latest(EvidenceKind.REJECTED)}
    unread.add(reader.manifest.backup_id)
    is_heir = _heir(reader.manifest.backup_id, backups)
    check = _check_content if read else _check_checksum

    def examine(entry: Entry, listed: int | None) -> VerificationError | None:
        cancellation.check()
        key = key_of(source, entry)
        try:
            # a listing in an order of the store's own must not make anything look lost
            size = stored.stored_checksum(key, entry.version)[0] if listed is None else listed
            if size != entry.size:
                raise _wrong(reader.store, key, entry, f"has {size} bytes instead of {entry.size}")
            # one that was stored without a version of its own may have been overwritten at any time
            if whole or entry.added in unread or is_heir(entry.added) or entry.version in NO_VERSIONS:
                check(stored, key, entry)
        except VerificationError as error:
            return error
        except RepositoryError as error:
            if is_missing(error):
                return _wrong(reader.store, key, entry, "is gone")
            unreadable.add(error)
        return None

    problems: list[VerificationError] = []
    unreadable = UnreadableObjects()
    listing = _Listing(reader)
    with ThreadPoolExecutor(streams, thread_name_prefix="verify") as threads:
        jobs = (threads.submit(examine, *pair) for pair in listing.sizes())
        found: Iterator[VerificationError | None] = in_order(jobs, WINDOW)
        for problem in filter(None, found):
            if len(problems) < PROBLEMS_TOLD:
                problems.append(problem)
    unreadable.report(problems)
    _report_current(reader, listing, backups[0].backup_id if backups else "")
    return problems


def _heir(backup_id: str, backups: Sequence[CatalogEntry]) -> Callable[[str], bool]:
    """Return a test whether this backup reads what a removed backup has added.

    The next backup that is left does: else nobody ever would, or each would read nearly everything.
    """
    there = {one.backup_id for one in backups}
    readers = sorted({backup_id} | {one.backup_id for one in backups if one.verified})

    @cache
    def is_heir(added: str) -> bool:
        return added not in there and next((one for one in readers if one > added), "") == backup_id

    return is_heir


def verified(stored: SmallObjects, key: str, entry: Entry, version: str | None = None) -> Iterator[bytes]:
    """Read a content, and compare it with the entry at its end. Raises VerificationError: commit nothing before.

    version: "" for the newest, instead of the entry's own.
    """
    digest = Digest()
    blocks = stored.read(key, entry.version if version is None else version, entry.size)
    yield from tap(blocks, digest.update)
    if (digest.bytes, digest.sha256) != (entry.size, entry.sha256):
        how = f"has {digest.bytes} bytes with SHA-256 {digest.sha256} instead of {entry.size} with {entry.sha256}"
        raise _wrong(stored.store, key, entry, how)


def fault_of(read: Callable[[], Blocks]) -> str:
    """Read a content to its end; say what is wrong with it. Empty when nothing.

    Raises RepositoryError for what concerns more than this object.
    """
    try:
        drain(read())
    except RepositoryError as error:
        if not is_of_object(error):
            raise
        return error.what
    except (RestoreError, VerificationError) as error:
        return error.what
    return ""


def _check_content(stored: SmallObjects, key: str, entry: Entry) -> None:
    drain(verified(stored, key, entry))


def _check_checksum(stored: SmallObjects, key: str, entry: Entry) -> None:
    found = stored.stored_checksum(key, entry.version)[1]
    if found is None:
        raise no_checksum(f"{stored.store.url}/{key}")
    expected = entry.checksum or b64encode(bytes.fromhex(entry.sha256)).decode()
    if found != expected:
        raise _wrong(stored.store, key, entry, f"has the store's checksum {found} instead of {expected}")


class _Listing:
    """Listing of the current state beside the entries of a backup, which name some of its versions.

    differing: the first paths at which the two differ. count: all of them.
    """

    def __init__(self, reader: BackupReader) -> None:
        self._reader = reader
        self.differing: list[str] = []
        self.count = 0

    def sizes(self) -> Iterator[tuple[Entry, int | None]]:
        """Yield stored entries with the listed sizes of their versions; None where none is listed."""
        folder = current_folder(self._reader.manifest.source)
        listed = list_versions(self._reader.store, folder)
        item = next(listed, None)
        for entry in entries(self._reader):
            if not entry.stored or entry.hashed_key:
                if entry.stored:
                    yield entry, None
                continue
            size, shown = None, False
            key = folder + entry.path.decode()
            while item and item.path <= key:
                if item.path != key:
                    self._foreign(item, folder)
                elif item.version == entry.version and not item.deleted:
                    size, shown = item.bytes, item.latest
                item = next(listed, None)
            if not shown:
                self._differs(entry.name)
            yield entry, size
        while item:
            self._foreign(item, folder)
            item = next(listed, None)

    def _foreign(self, item: ListedVersion, folder: str) -> None:
        path = item.path.removeprefix(folder)
        if item.latest and not item.deleted and may_be_ours(path.encode()):
            self._differs(path)

    def _differs(self, path: str) -> None:
        self.count += 1
        if len(self.differing) < DIFFERING_NAMED:
            self.differing.append(path)


def _report_current(reader: BackupReader, listing: _Listing, newest: str) -> None:
    """Warn that the current state differs from the sound newest backup; the next backup heals it."""
    manifest, store = reader.manifest, reader.store
    if not listing.count or manifest.backup_id != newest or later_runs(store, manifest.source, newest):
        return
    log.warning(
        "%s/%s is not as %s left it: %d files are missing, or other ones, first %s. The backup is not concerned; the "
        "next one puts it right. Find out who writes there.",
        store.url, current_folder(manifest.source), newest, listing.count, ", ".join(listing.differing),
    )  # fmt: skip
    try:
        store.put(objects_folder(manifest.source, newest) + CURRENT_DIFFERS, json.dumps(listing.differing).encode())
    except RepositoryError as error:
        log.warning("The next backup is not told of it: %s", error.what)


def _wrong(store: ObjectStore, key: str, entry: Entry, how: str) -> VerificationError:
    return VerificationError(f"{store.url}/{key} (version {entry.version}) {how}.", _REMEDY)
