"""The catalog: 10,000 backups listed with their state, through the S3 gateway."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.naming import new_backup_id
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import MANIFEST, RESTORE_SCRIPT, EvidenceName, catalog_folder
from backup_playbook.repository.store import ObjectStore
from bench.measure import Contestant, race
from bench.report import Figure, Section
from bench.stand import BUCKET, Stand

BACKUPS = 10_000
SOURCES = 10
ROUNDS = 5
OBJECT_BYTES = 100
PREFIX = "catalog-10000"
_NEWEST = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


class Listing(Contestant):
    name = "catalog"
    what = f"`Catalog.backups()`: {BACKUPS:,} backups of {SOURCES} sources"

    def __init__(self, store: ObjectStore) -> None:
        self._catalog = Catalog(store)

    def run(self) -> None:
        found = self._catalog.backups()
        if len(found) != BACKUPS or not all(entry.verified and entry.latest(EvidenceKind.COPIED) for entry in found):
            raise PlaybookError(
                f"The listing has {len(found)} backups, or not the state of all {BACKUPS} of them.",
                "Compare repository/catalog.py with the files that bench/catalog.py makes.",
            )


def measure(stand: Stand, say: Callable[[str], None]) -> Section:
    say(f"writing a catalog of {BACKUPS:,} backups ...")
    store = ObjectStore(stand.s3.client(), bucket=BUCKET, prefix=PREFIX)
    keys = fill(store, stand.s3.buckets / BUCKET / PREFIX)
    series = race([Listing(store)], ROUNDS, say)
    timing = series["catalog"]
    figure = Figure("catalog_10000_seconds", timing.median, (min(timing.seconds), max(timing.seconds)))
    return Section("catalog", "Catalog", series, [figure], {"keys listed": keys})


def fill(store: ObjectStore, folder: Path) -> int:
    """Straight into the gateway's directory, because 50,000 PUTs would take minutes. Returns the number of keys.

    The files of a source are links to one stored object: the gateway reads its attributes for every key that it lists.
    """
    for number in range(SOURCES):
        store.put(f"template-{number}", bytes(OBJECT_BYTES))
    keys = 0
    for number in range(BACKUPS):
        taken = _NEWEST - timedelta(days=number // SOURCES)
        backup = folder / catalog_folder(f"source_{number % SOURCES}", new_backup_id(taken))
        backup.mkdir(parents=True)
        for name in _files(taken):
            (backup / name).hardlink_to(folder / f"template-{number % SOURCES}")
            keys += 1
    return keys


def _files(taken: datetime) -> list[str]:
    """A backup as the nightly run leaves it: sealed, verified, copied, its tier decided."""
    evidence = [
        EvidenceName(taken + timedelta(minutes=3), EvidenceKind.VERIFIED, "full"),
        EvidenceName(taken + timedelta(minutes=4), EvidenceKind.COPIED, "offsite"),
        EvidenceName(taken + timedelta(minutes=5), EvidenceKind.TIERED, "daily"),
    ]
    return [MANIFEST, RESTORE_SCRIPT, *(item.file_name for item in evidence)]
