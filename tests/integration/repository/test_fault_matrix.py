"""S3 fails at every request of a whole night, in turn: backup, verification, off-site copy, its verification, prune.

Whatever fails: the run ends with an explained error, no half backup counts, the next run succeeds, and the sweep leaves
nothing but whole backups.
"""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from botocore.config import Config

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.naming import new_backup_id
from backup_playbook.core.retention import RetentionPolicy
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.repository import removal, upload
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import catalog_folder, objects_folder
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.offsite import copy_backup
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from tests.conftest import Bucket
from tests.integration.repository.conftest import MakeStore
from tests.support.backups import said
from tests.support.bytes_engine import BytesEngine
from tests.support.s3_proxy import Fault, S3Proxy, every, from_on

MIB = 1 << 20
OLD_BACKUP = "20200101T020000Z-000001"
POLICY = RetentionPolicy(daily=1, weekly=0, monthly=0, yearly=0, keep_newest=1)
CONTENTS = {"small": b"some rows\n" * 1000, "large": os.urandom(5 * MIB + 4096)}


@dataclass
class Night:
    """One night's run, over a primary and an off-site repository."""

    primary: Catalog
    offsite: Catalog

    def run(self) -> None:
        cancellation, engine = Cancellation(), BytesEngine(CONTENTS)
        writer = BackupWriter(self.primary.store, "shop", new_backup_id(datetime.now(UTC)), Codec())
        manifest = take_backup(engine, engine, writer, cancellation)
        self.verify(self.primary, manifest.backup_id)
        copy_backup(
            self.primary,
            self.offsite,
            manifest,
            "#!/bin/sh\n",
            same_endpoint=False,
            streams=1,
            cancellation=cancellation,
        )
        self.primary.add_evidence("shop", manifest.backup_id, said(EvidenceKind.COPIED), qualifier="offsite")
        self.verify(self.offsite, manifest.backup_id)
        plan = removal.plan(self.primary, "shop", POLICY, datetime.now(UTC))
        removal.apply(self.primary, "shop", plan)

    def verify(self, catalog: Catalog, backup_id: str) -> None:
        Verification(catalog, BytesEngine(CONTENTS), Codec(), Depth.FULL, streams=1).run(
            "shop", backup_id, Cancellation()
        )

    def add_old_backup(self) -> None:
        """Something for retention to remove."""
        store = self.primary.store
        store.put(objects_folder("shop", OLD_BACKUP) + "small.zst", b"x")
        for name in ("manifest.json", "restore.sh", "verified-20200101T020500000Z-full.json"):
            store.put(catalog_folder("shop", OLD_BACKUP) + name, b"{}")

    def require_whole(self) -> None:
        """After a sweep, everything in both repositories belongs to a backup that can be verified."""
        later = datetime.now(UTC) + timedelta(minutes=1)
        for catalog in (self.primary, self.offsite):
            removal.sweep(catalog, "shop", timedelta(), later)
            sealed = {entry.backup_id for entry in catalog.backups("shop")}
            stored = {item.key.split("/")[2] for item in catalog.store.list("")}
            assert stored == sealed
            assert not list(catalog.store.unfinished_uploads(""))
            for entry in catalog.backups("shop"):
                if not entry.verified:
                    self.verify(catalog, entry.backup_id)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "FIRST_PART_BYTES", 5 * MIB)


MakeNight = Callable[[int], Night]


@pytest.fixture
def make_night(bucket: Bucket, second_bucket: str, make_store: MakeStore) -> MakeNight:
    """`night = make_night(attempts)`: over two empty repositories; a request is tried so many times."""
    prefixes = itertools.count()

    def make(attempts: int) -> Night:
        config = Config(retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=1)
        prefix = f"night-{next(prefixes)}"
        stores = [make_store(name, prefix=prefix, config=config) for name in (bucket.name, second_bucket)]
        night = Night(Catalog(stores[0]), Catalog(stores[1]))
        night.add_old_backup()
        return night

    return make


@pytest.fixture
def clean_requests(make_night: MakeNight, proxy: S3Proxy) -> int:
    """How many requests a night takes when nothing fails."""
    night = make_night(1)
    proxy.reset()
    night.run()
    count = len(proxy.requests)
    night.require_whole()
    assert OLD_BACKUP not in {entry.backup_id for entry in night.primary.backups()}
    assert any("uploads" in request.query for request in proxy.requests), "no multipart upload is in the matrix"
    return count


FAULTS = {
    "500": Fault(500),
    "503": Fault(503, "SlowDown", "Please reduce your request rate."),
    "cut": Fault(),
    "lost answer": Fault(processed=True),
}


def fail_from(night: Night, proxy: S3Proxy, number: int, fault: Fault) -> None:
    proxy.reset(from_on(number, fault))
    with pytest.raises(PlaybookError) as caught:
        night.run()
    sealing = [item for item in proxy.requests if item.method == "PUT" and item.path.endswith("manifest.json")]
    proxy.reset()
    assert "\nWhat to do: " in str(caught.value)
    backups = {entry.backup_id for entry in night.primary.backups("shop")}
    assert sealing or backups == {OLD_BACKUP}, "a backup exists although its run failed before it was sealed"
    night.run()
    night.require_whole()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "first", "step"),
    [("500", 1, 2), ("500", 2, 2), ("503", 1, 8), ("cut", 3, 8), ("lost answer", 1, 4), ("lost answer", 3, 4)],
)
def test_store_that_fails_from_some_request_on(
    make_night: MakeNight, proxy: S3Proxy, clean_requests: int, name: str, first: int, step: int
) -> None:
    for number in range(first, clean_requests + 1, step):
        fail_from(make_night(1), proxy, number, FAULTS[name])


@pytest.mark.faults
@pytest.mark.parametrize("name", FAULTS)
def test_failures_of_single_requests_are_bridged_by_retries(make_night: MakeNight, proxy: S3Proxy, name: str) -> None:
    """Every third request fails, then those before them, then those before: each position is hit once."""
    for offset in range(3):
        night = make_night(4)
        proxy.reset(every(3, offset, FAULTS[name]))
        night.run()
        proxy.reset()
        night.require_whole()


@pytest.mark.faults
def test_store_that_stops_answering(make_night: MakeNight, proxy: S3Proxy, clean_requests: int) -> None:
    for number in (1, clean_requests // 2, clean_requests - 1):
        fail_from(make_night(1), proxy, number, Fault(delay=1.5))
