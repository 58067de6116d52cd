"""The catalog from its listing alone: many backups, in every state, split into parallel ranges."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_playbook.core.model import EvidenceKind
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import EvidenceName
from backup_playbook.repository.store import ObjectStore
from embedded.s3 import S3Gateway
from tests.support.backups import said

START = datetime(2019, 3, 1, 2, tzinfo=UTC)


def backup_id(at: datetime, number: int) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}-{number:06x}"


def add_backup(catalog: Path, source: str, identity: str, at: datetime) -> None:
    """As files of the gateway: forty thousand requests would take minutes."""
    folder = catalog / source / identity
    folder.mkdir(parents=True)
    evidence = (EvidenceName(at, EvidenceKind.VERIFIED, "full"), EvidenceName(at, EvidenceKind.COPIED, "offsite"))
    for name in ("manifest.json", "restore.sh", *(item.file_name for item in evidence)):
        (folder / name).write_bytes(b"{}")


@pytest.fixture
def folder(store: ObjectStore, s3: S3Gateway) -> Path:
    return s3.buckets / store.bucket / "playbook" / "catalog"


@pytest.mark.parametrize(
    ("start", "step"),
    [
        (START, timedelta(days=1)),
        (START, timedelta(seconds=2)),
        # clocks that ran ahead: a part, or all, of it lies in the future
        (datetime.now(UTC) - timedelta(days=300), timedelta(days=1)),
        (datetime.now(UTC) + timedelta(days=30), timedelta(days=1)),
    ],
)
def test_every_backup_is_listed_exactly_once(
    store: ObjectStore, folder: Path, start: datetime, step: timedelta
) -> None:
    made = [backup_id(start + number * step, number) for number in range(700)]
    for number, identity in enumerate(made):
        add_backup(folder, "shop", identity, start + number * step)
    add_backup(folder, "other", made[5], start)
    entries = Catalog(store).backups()
    assert [entry.backup_id for entry in entries if entry.source == "shop"] == made[::-1]
    assert [entry.backup_id for entry in Catalog(store).backups("other")] == [made[5]]
    for entry in entries:
        assert entry.verified
        assert entry.verified.qualifier == "full"
        assert len(entry.evidence) == 2
        copied = entry.latest(EvidenceKind.COPIED)
        assert copied
        assert copied.qualifier == "offsite"


def test_a_listing_that_grows_denser_is_divided_again(store: ObjectStore, folder: Path) -> None:
    """Retention keeps few old backups and many new ones: the first page tells nothing of the last."""
    old = [START + number * timedelta(days=7) for number in range(260)]
    new = [datetime.now(UTC) - number * timedelta(minutes=5) for number in range(1, 1300)]
    for number, at in enumerate((*old, *new)):
        add_backup(folder, "shop", backup_id(at, number), at)
    found = [entry.taken_at for entry in Catalog(store).backups("shop")]
    assert found == sorted((at.replace(microsecond=0) for at in (*old, *new)), reverse=True)


def test_what_is_not_ours_in_the_catalog_is_not_counted(store: ObjectStore, folder: Path) -> None:
    add_backup(folder, "shop", backup_id(START, 1), START)
    for name in ("notes.txt", "shop/readme", "shop/not-an-id/manifest.json", f"shop/{backup_id(START, 2)}/other.json"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    catalog = Catalog(store)
    assert [entry.backup_id for entry in catalog.backups()] == [backup_id(START, 1)]
    # what has no manifest shows, for the sweep
    assert [entry.sealed for entry in catalog.entries("shop")] == [False, True]


def test_foreign_keys_by_the_thousand_do_not_hide_a_backup(store: ObjectStore, folder: Path) -> None:
    foreign = folder / "shop" / "0-foreign"
    foreign.mkdir(parents=True)
    for number in range(1500):
        (foreign / f"{number}").write_bytes(b"")
    add_backup(folder, "shop", backup_id(START, 1), START)
    assert len(Catalog(store).backups("shop")) == 1


def test_latest_word_counts(store: ObjectStore, folder: Path) -> None:
    identity = backup_id(START, 1)
    add_backup(folder, "shop", identity, START)
    catalog = Catalog(store)
    (entry,) = catalog.backups("shop")
    assert (entry.rejected, entry.held, entry.tier) == (False, False, "")
    catalog.add_evidence("shop", identity, said(EvidenceKind.REJECTED, what="a flipped bit"), qualifier="full")
    catalog.add_evidence("shop", identity, said(EvidenceKind.HELD, reason="audit"))
    catalog.add_evidence("shop", identity, said(EvidenceKind.TIERED), qualifier="monthly")
    (entry,) = catalog.backups("shop")
    assert (entry.verified, entry.rejected, entry.held, entry.tier) == (None, True, True, "monthly")
    rejected = entry.latest(EvidenceKind.REJECTED)
    assert rejected
    assert catalog.read_evidence(entry, rejected)["what"] == "a flipped bit"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("sources", "each"), [(10, 1000), (1, 10_000)])
def test_ten_thousand_backups(store: ObjectStore, folder: Path, sources: int, each: int) -> None:
    """The time counts CPU of this process only: `make bench` measures the whole against the goal of 2 s."""
    step = timedelta(hours=6)
    for source in range(sources):
        for number in range(each):
            at = START + number * step
            add_backup(folder, f"source{source}", backup_id(at, number), at)
    started = time.process_time()
    entries = Catalog(store).backups()
    spent = time.process_time() - started
    assert len(entries) == 10_000
    assert all(entry.verified and entry.latest(EvidenceKind.COPIED) for entry in entries)
    assert spent < 6, f"{spent:.1f} s of CPU: is every date guessed at again?"
