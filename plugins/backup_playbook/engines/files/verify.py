"""Whether the versions that a backup names are still in the bucket, and are what it says."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.tree import Entry, current_folder, key_of
from backup_playbook.engines.files.shards import entries
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.quick import QuickRequests
from backup_playbook.repository.s3errors import is_missing
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import list_versions
from backup_playbook.streams.blocks import Digest, drain, tap
from backup_playbook.streams.processes import Cancellation

WINDOW = 1_000
PROBLEMS_TOLD = 1_000
"""Of a tree that is gone altogether, not every file is a problem of its own."""
_REMEDY = (
    "The next backup relies on nothing that is stored, and uploads every file again. Meanwhile use an older backup or "
    "the off-site copy, and find out who wrote to the bucket, or whether its disk is failing."
)


def check_versions(
    reader: BackupReader, streams: int, cancellation: Cancellation, *, read: bool
) -> list[VerificationError]:
    """All versions are there with their sizes; those that no verified backup stored have the right content too.

    A backup that read every file at its source is read whole as well: contents that many backups share are read again
    as often as `rehash_every` says. read: else the store's checksums are compared instead of contents.
    """
    whole = reader.manifest.details["runs_since_rehash"] == 0
    source, stored = reader.manifest.source, QuickRequests(reader.store)
    # also of a backup whose own verification never came to its end
    unread = {one.backup_id for one in Catalog(reader.store).backups(source) if not one.verified}
    unread.add(reader.manifest.backup_id)
    check = _check_content if read else _check_checksum

    def examine(entry: Entry, listed: int | None) -> VerificationError | None:
        cancellation.check()
        key = key_of(source, entry)
        try:
            # a listing in an order of the store's own must not make anything look lost
            size = stored.stored_checksum(key, entry.version)[0] if listed is None else listed
            if size != entry.size:
                raise _wrong(reader.store, key, entry, f"has {size} bytes instead of {entry.size}")
            if whole or entry.added in unread:
                check(stored, key, entry)
        except VerificationError as error:
            return error
        except RepositoryError as error:
            if not is_missing(error):
                raise
            return _wrong(reader.store, key, entry, "is gone")
        return None

    problems: list[VerificationError] = []
    with ThreadPoolExecutor(streams, thread_name_prefix="verify") as threads:
        jobs = (lambda pair=pair: examine(*pair) for pair in _with_listed_sizes(reader))
        for problem in _bounded(threads, jobs):
            if problem and len(problems) < PROBLEMS_TOLD:
                problems.append(problem)
    return problems


def verified(stored: QuickRequests, key: str, entry: Entry, version: str | None = None) -> Iterator[bytes]:
    """The content, compared with the entry at its end. Raises VerificationError: commit nothing before.

    version: "" for the newest, instead of the entry's own.
    """
    digest = Digest()
    blocks = stored.read(key, entry.version if version is None else version, entry.size)
    yield from tap(blocks, digest.update)
    if (digest.bytes, digest.sha256) != (entry.size, entry.sha256):
        how = f"has {digest.bytes} bytes with SHA-256 {digest.sha256} instead of {entry.size} with {entry.sha256}"
        raise _wrong(stored.store, key, entry, how)


def _check_content(stored: QuickRequests, key: str, entry: Entry) -> None:
    drain(verified(stored, key, entry))


def _check_checksum(stored: QuickRequests, key: str, entry: Entry) -> None:
    found = stored.stored_checksum(key, entry.version)[1]
    expected = entry.checksum or b64encode(bytes.fromhex(entry.sha256)).decode()
    if found != expected:
        raise _wrong(stored.store, key, entry, f"has the store's checksum {found} instead of {expected}")


def _with_listed_sizes(reader: BackupReader) -> Iterator[tuple[Entry, int | None]]:
    """Every stored entry, with the size that the listing gives for its version; None where it gives none."""
    listed = list_versions(reader.store, current_folder(reader.manifest.source))
    item = next(listed, None)
    for entry in entries(reader):
        if not entry.stored:
            continue
        size = None
        if not entry.hashed_key:
            key = key_of(reader.manifest.source, entry)
            while item and item.path <= key:
                if (item.path, item.version) == (key, entry.version) and not item.deleted:
                    size = item.bytes
                item = next(listed, None)
        yield entry, size


def _bounded(
    threads: ThreadPoolExecutor, jobs: Iterator[Callable[[], VerificationError | None]]
) -> Iterator[VerificationError | None]:
    waiting: deque[Future[VerificationError | None]] = deque()
    try:
        for job in jobs:
            waiting.append(threads.submit(job))
            if len(waiting) > WINDOW:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _wrong(store: ObjectStore, key: str, entry: Entry, how: str) -> VerificationError:
    return VerificationError(f"{store.url}/{key} (version {entry.version}) {how}.", _REMEDY)
