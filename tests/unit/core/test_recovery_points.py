"""Which backup, now? The choice, its refusals, and what people read of it."""

from datetime import UTC, datetime, timedelta

import pytest

from backup_playbook.core.evidence import Restored
from backup_playbook.core.recovery_points import (
    Contents,
    NoSuchBackupError,
    RecoveryPoint,
    RecoveryPoints,
    as_text,
    choose_backup,
    estimated,
    newest_points,
    restore_rate,
)
from backup_playbook.repository.catalog import CatalogEntry
from tests.support.backups import listed

NOW = datetime(2026, 11, 23, 14, 0, 4, tzinfo=UTC)
TODAY = datetime(2026, 11, 23, 2, 0, 4, tzinfo=UTC)
DAY = timedelta(days=1)

UNVERIFIED = listed(TODAY, verified=None)
REJECTED = listed(TODAY - DAY, rejected=NOW)
VERIFIED = listed(TODAY - 2 * DAY)
PROVEN = listed(TODAY - 3 * DAY, restored=NOW - DAY)
OLD = listed(TODAY - 30 * DAY)
BACKUPS = [UNVERIFIED, REJECTED, VERIFIED, PROVEN, OLD]


@pytest.mark.parametrize(
    ("wanted", "before", "chosen"),
    [
        ("latest", None, VERIFIED),
        ("latest", TODAY - 2 * DAY, PROVEN),
        ("latest", TODAY - 4 * DAY, OLD),
        ("latest_proven", None, PROVEN),
        (OLD.backup_id, None, OLD),
    ],
)
def test_choice(wanted: str, before: datetime | None, chosen: CatalogEntry) -> None:
    assert choose_backup(BACKUPS, wanted, before, now=NOW) is chosen
    assert choose_backup(BACKUPS[::-1], wanted, before, now=NOW) is chosen


def test_unverified_is_a_choice_only_by_its_id_and_when_allowed() -> None:
    assert choose_backup(BACKUPS, UNVERIFIED.backup_id, now=NOW, allow_unverified=True) is UNVERIFIED
    assert choose_backup(BACKUPS, now=NOW, allow_unverified=True) is VERIFIED
    with pytest.raises(NoSuchBackupError, match="was rejected"):
        choose_backup(BACKUPS, REJECTED.backup_id, now=NOW, allow_unverified=True)


@pytest.mark.parametrize(
    ("backups", "wanted", "before", "what", "remedy"),
    [
        ([], "latest", None, "has no backup of the source", "Take one"),
        ([UNVERIFIED, REJECTED], "latest", None, "shop has 2 backups here, none of them verified", "by its id"),
        ([VERIFIED], "latest_proven", None, "shop has 1 backup here", "the newest is 20261121T020004Z-7f3a91"),
        (BACKUPS, "latest", TODAY - 30 * DAY, "taken before 2026-10-24 02:00:04 UTC", "oldest verified backup is"),
        (BACKUPS, "20260101T000000Z-000000", None, "no backup '20260101T000000Z-000000'", VERIFIED.backup_id),
        (BACKUPS, "; drop", None, "no backup '; drop'", "Choose one that is listed"),
        (BACKUPS, UNVERIFIED.backup_id, None, "was never verified", "`allow_unverified`"),
        (BACKUPS, REJECTED.backup_id, None, "was rejected by its last verification", VERIFIED.backup_id),
        ([REJECTED], REJECTED.backup_id, None, "was rejected", "rejected-*.json"),
    ],
)  # fmt: skip
def test_refusals(backups: list[CatalogEntry], wanted: str, before: datetime | None, what: str, remedy: str) -> None:
    with pytest.raises(NoSuchBackupError) as refusal:
        choose_backup(backups, wanted, before, now=NOW)
    assert what in refusal.value.what
    assert remedy in refusal.value.remedy


def test_rejected_after_its_proof_is_not_sound() -> None:
    entry = listed(TODAY, restored=TODAY + DAY / 4, rejected=NOW)
    assert newest_points("shop", {"primary": [entry]}, [], NOW).newest.keys() == {"unverified"}


def test_newest_points_of_all_repositories() -> None:
    offsite = [listed(TODAY - DAY), listed(TODAY - 2 * DAY, verified=None)]
    points = newest_points("shop", {"primary": BACKUPS, "offsite": offsite}, ["offsite"], NOW)
    # rejected in the primary repository, and still good off-site
    assert points.newest["verified"] == RecoveryPoint(REJECTED.backup_id, {"primary": "DAMAGED", "offsite": "verified"})
    assert points.newest["unverified"] == RecoveryPoint(UNVERIFIED.backup_id, {"primary": "not verified"})
    assert points.newest["proven"] == RecoveryPoint(PROVEN.backup_id, {"primary": "verified"})


def test_rate_is_the_median_of_restores() -> None:
    def restored(size: int | None, **seconds: float) -> Restored:
        return Restored(
            report=None, seconds=seconds, rto_seconds=1, content_bytes=size, target="t", repository="primary",
            paths=None, run="r",
        )  # fmt: skip

    assert restore_rate([restored(100, restore=seconds, prove=1) for seconds in (1, 4, 9, 9, 9, 9)]) == 10
    assert restore_rate([restored(None, restore=1), restored(5), restored(0, restore=1)]) is None
    assert restore_rate([]) is None


@pytest.mark.parametrize(
    ("storage_class", "rate", "time"),
    [
        ("STANDARD", 1000, timedelta(minutes=10)),
        ("DEEP_ARCHIVE", 1000, timedelta(hours=12, minutes=10)),
        ("GLACIER", 1000, timedelta(hours=5, minutes=10)),
        ("STANDARD", None, None),
    ],
)
def test_estimate(storage_class: str, rate: float | None, time: timedelta | None) -> None:
    assert estimated(Contents("1 table, 1 row", 1, 1, 600_000, 1, storage_class), rate) == time


def test_text_for_people() -> None:
    contents = Contents("12 tables, 3,456,789 rows", 12, 3_456_789, 5 << 30, 1 << 30, "DEEP_ARCHIVE")
    proven = RecoveryPoint(PROVEN.backup_id, {"primary": "verified"}, contents, timedelta(hours=12, minutes=3))
    unverified = RecoveryPoint(UNVERIFIED.backup_id, {"primary": "DAMAGED", "offsite": "not verified"})
    shop = RecoveryPoints("shop", {"proven": proven, "unverified": unverified}, ("offsite",))
    crm = RecoveryPoints("crm", {}, (), {"primary": "Cannot list s3://b: AccessDenied."})
    assert as_text([shop, crm], NOW) == TEXT


TEXT = """\
shop
  proven      20261120T020004Z-7f3a91, 3 days 12 h old; 12 tables, 3,456,789 rows, 5.0 GB stored as 1.0 GB, \
DEEP_ARCHIVE; retrieval takes up to 12 h 00 min; restore with proof: about 12 h 03 min; in primary (verified), \
offsite (MISSING)
  verified    none
  unverified  20261123T020004Z-7f3a91, 12 h 00 min old; DAMAGED: its last verification rejected it; restore with \
proof: not measured yet; in primary (DAMAGED), offsite (not verified)

crm
  proven      none
  verified    none
  primary cannot be read: Cannot list s3://b: AccessDenied."""


def test_json_is_whole() -> None:
    points = newest_points("shop", {"primary": BACKUPS}, ["offsite"], NOW).as_json(NOW)
    assert points["verified"] == {
        "backup_id": VERIFIED.backup_id,
        "taken_at": "2026-11-21T02:00:04+00:00",
        "age_seconds": 60 * 3600.0,
        "rejected": False,
        "sound_in": ["primary"],
        "listed_in": ["primary"],
        "states": {"primary": "verified"},
        "contents": None,
        "retrieval_seconds": 0.0,
        "restore_seconds": None,
    }
    assert (points["offsite"], points["unreadable"]) == (["offsite"], {})
