"""Known-bad sources: every condition yields its finding and no other, and all well yields none."""

from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta

import pytest

from backup_playbook.core.facts import Dags, Expected, Inequality, Rejection, SourceFacts, Unreadable
from backup_playbook.core.health import assess
from backup_playbook.core.model import EncryptionRecord
from backup_playbook.repository.catalog import CatalogEntry
from tests.support.backups import listed, manifest

NOW = datetime(2026, 11, 23, 3, 0, 4, tzinfo=UTC)
LAST_NIGHT = datetime(2026, 11, 23, 2, 0, 4, tzinfo=UTC)
DAY = timedelta(days=1)
TABLES = {"users": 1_000, "orders": 9_000, "empty": 0}
GPG = EncryptionRecord(method="gpg_recipients", recipients=("backup@example.com",))
OTHER_KEY = EncryptionRecord(method="gpg_recipients", recipients=("safe@example.com",))
NEWEST = manifest(LAST_NIGHT, TABLES)
EXPECTED = Expected(
    due=NOW.replace(hour=2, second=0),
    rpo=timedelta(hours=24),
    proven_within=timedelta(days=35),
    reread_within=timedelta(days=30),
    minimum_size=100_000_000,
    encryption=EncryptionRecord(),
    dags=Dags(back_up="dag_back_up", prove="dag_prove", repair="dag_repair", verify="dag_verify"),
)


def nights(*, first: int = 0, count: int = 20) -> list[CatalogEntry]:
    """One verified backup a night, newest first; the sixth was restored and proven."""
    taken = [LAST_NIGHT - back * DAY for back in range(first, first + count)]
    return [listed(at, restored=at + timedelta(hours=4) if place == 5 else None) for place, at in enumerate(taken)]


def without_newest(newest: Sequence[CatalogEntry] = ()) -> list[CatalogEntry]:
    return [*newest, *nights(first=1)]


WELL = SourceFacts(
    source="shop",
    expected=EXPECTED,
    primary="primary",
    listed={"primary": nights(), "offsite": nights()},
    newest=NEWEST,
    previous=manifest(LAST_NIGHT - DAY, TABLES),
    copies={"offsite": NEWEST.seal},
    sizes=(500_000_000, 499_000_000, 501_000_000, 498_000_000, 502_000_000, 500_500_000, 499_500_000),
)


def primary(entries: list[CatalogEntry]) -> SourceFacts:
    """Without a newest backup of today there is none to compare a copy with."""
    return replace(WELL, listed={"primary": entries, "offsite": nights()}, newest=None, previous=None)


def primary_with(entry: CatalogEntry) -> SourceFacts:
    """And all else as it should be."""
    return replace(WELL, listed={"primary": [entry, *nights()], "offsite": nights()})


def offsite(entries: list[CatalogEntry]) -> SourceFacts:
    return replace(WELL, listed={"primary": nights(), "offsite": entries})


def newest(
    tables: dict[str, int] = TABLES, size: int = 500_000_000, key: EncryptionRecord | None = None
) -> SourceFacts:
    found = manifest(LAST_NIGHT, tables, size=size, encryption=key)
    return replace(WELL, newest=found, copies={"offsite": found.seal})


def expecting(facts: SourceFacts = WELL, **promises: object) -> SourceFacts:
    return replace(facts, expected=replace(facts.expected, **promises))  # type: ignore[arg-type]


def unproven(count: int) -> SourceFacts:
    """So many nights, none of them ever restored."""
    entries = [listed(LAST_NIGHT - back * DAY, verified=NOW - DAY) for back in range(1, count)]
    return replace(WELL, listed={"primary": [listed(LAST_NIGHT), *entries], "offsite": [listed(LAST_NIGHT)]})


def blind(*repositories: str) -> SourceFacts:
    """With repositories that refuse."""
    refused = [Unreadable(name, "Cannot list s3://b: AccessDenied.", "Grant s3:ListBucket.") for name in repositories]
    seen = {name: entries for name, entries in WELL.listed.items() if name not in repositories}
    return replace(WELL, listed=seen, unreadable=refused, newest=NEWEST if "primary" in seen else None)


UNVERIFIED = listed(LAST_NIGHT, verified=None)
REJECTION = Rejection("primary", "20261110T020004Z-7f3a91", "pack.zst is not what was backed up.")
UNEQUAL = Inequality("20261110T020004Z-7f3a91", "public.users has 3 rows instead of 4.")
AHEAD = listed(NOW + 90 * DAY, verified=NOW - DAY)
UNREAD = expecting(offsite(nights(count=5)), reread_within=10 * DAY)

# what is wrong, the facts, severity, key below the source, a part of what is said
KNOWN_BAD: list[tuple[str, SourceFacts, str, str, str]] = [
    ("no backup today", primary(without_newest()), "high", "today", "There is no backup of 2026-11-23 02:00 UTC."),
    ("no backup at all", primary([]), "high", "today", "There is no backup of 2026-11-23 02:00 UTC."),
    ("not verified", primary(without_newest([UNVERIFIED])), "high", "today", "is not verified"),
    ("rejected", primary(without_newest([listed(LAST_NIGHT, rejected=NOW)])), "high", "today", "was rejected"),
    ("beyond the RPO", expecting(rpo=timedelta(minutes=30)), "high", "rpo", "verified backup is 1 h 00 min old"),
    ("below the minimum", newest(size=99_000_000), "medium", "minimum_size", "less than the minimum of 95 MB"),
    ("half as large", newest(size=250_000_000), "medium", "unusual_size", "where 477 MB is usual"),
    ("twice as large", newest(size=1_000_000_000), "medium", "unusual_size", "where 477 MB is usual"),
    ("table gone", newest({"orders": 9_000, "empty": 0}), "medium", "tables", "7f3a91: public.users 1,000 -> gone."),
    ("table emptied", newest(TABLES | {"users": 0}), "medium", "rows", "7f3a91: public.users 1,000 -> 0."),
    ("rows gone", newest(TABLES | {"orders": 7_500}), "medium", "rows", "7f3a91: public.orders 9,000 -> 7,500."),
    ("no copy", offsite(nights(first=1)), "high", "offsite/offsite", "has no copy in offsite"),
    ("another copy", replace(WELL, copies={"offsite": "x"}), "high", "offsite/offsite", "another seal"),
    ("unverified copy", offsite(without_newest([UNVERIFIED])), "high", "offsite/offsite", "is not"),
    ("old proof", expecting(proven_within=4 * DAY), "medium", "proof", "last proven restore was 4 days 21 h ago"),
    ("never proven", unproven(40), "medium", "proof", "No restore was ever proven, where 35 days 0 h are the most"),
    ("plaintext", expecting(encryption=GPG), "high", "encryption", "is not encrypted, where gpg_recipients is"),
    ("another key", expecting(newest(key=GPG), encryption=OTHER_KEY), "medium", "encryption", "where gpg_recipients s"),
    ("unasked key", newest(key=GPG), "medium", "encryption", "as gpg_recipients backup@example.com, where none is"),
    ("damaged", replace(WELL, rejections=[REJECTION]), "critical", f"rejected/primary/{REJECTION.backup_id}", "dama"),
    ("unequal", replace(WELL, inequalities=[UNEQUAL]), "high", f"unequal/{UNEQUAL.backup_id}", "of 20261110T0"),
    ("future", primary_with(AHEAD), "medium", f"misdated/{AHEAD.backup_id}", "counts for nothing"),
    ("not read again", UNREAD, "high", "unread/primary", "Not read again within 10 days 0 h: 10 backups in primary"),
    ("scrub died", replace(WELL, scrubbed=False), "high", "scrub", "did not come to its end"),
    ("primary unreadable", blind("primary"), "critical", "unreadable/primary", "AccessDenied"),
    ("off-site unreadable", blind("offsite"), "critical", "unreadable/offsite", "AccessDenied"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "severity", "key", "what"), [bad[1:] for bad in KNOWN_BAD], ids=[bad[0] for bad in KNOWN_BAD]
)
def test_known_bad(facts: SourceFacts, severity: str, key: str, what: str) -> None:
    [finding] = assess(facts, NOW)
    assert (finding.severity, finding.key, finding.source) == (severity, f"shop/{key}", "shop")
    assert what in finding.what
    assert finding.remedy
    assert finding.blinding == key.startswith("unreadable")


def test_all_well() -> None:
    assert assess(WELL, NOW) == []
    assert WELL.in_short(NOW) == (
        "Its last good backup is 20261123T020004Z-7f3a91, 1 h 00 min old, within the RPO of 24 h 00 min. "
        "20 good backups, last proven by a restore 4 days 21 h ago."
    )


@pytest.mark.parametrize(
    "facts",
    [
        expecting(proven_within=None),
        unproven(20),
        newest(size=600_000_000),
        newest(TABLES | {"orders": 8_500, "new": 5}),
        replace(newest(size=250_000_000), sizes=(500_000_000,) * 6),
        replace(newest(size=700_000_000), sizes=(300_000_000, 500_000_000, 700_000_000) * 3),
        expecting(newest(key=GPG), encryption=GPG),
        replace(WELL, listed={"primary": nights()}, copies={}),
        replace(WELL, previous=None),
        replace(
            WELL, newest=NEWEST.model_copy(update={"details": {"copy_of": "origin"}}), copies={"offsite": "origin"}
        ),
    ],
    ids=[
        "no restore test", "new source", "growth", "few rows deleted", "no history", "wide spread",
        "encrypted as configured", "no off-site repository", "first day", "repaired from a copy",
    ],
)  # fmt: skip
def test_still_well(facts: SourceFacts) -> None:
    assert assess(facts, NOW) == []


def test_finding_says_what_it_means_for_the_rpo() -> None:
    [finding] = assess(primary(without_newest()), NOW)
    assert finding.means == (
        "Its last good backup is 20261122T020004Z-7f3a91, 25 h 00 min old, older than the RPO of 24 h 00 min."
    )
    [finding] = assess(primary([]), NOW)
    assert finding.means == "It has no verified backup at all."


def test_what_can_be_restored_is_said_while_the_primary_repository_is_unreachable() -> None:
    unreachable = blind("primary")
    [finding] = assess(unreachable, NOW)
    assert finding.means == (
        "Its last good backup that can be read, in offsite, is 20261123T020004Z-7f3a91, 1 h 00 min old, within the "
        "RPO of 24 h 00 min."
    )
    [finding] = assess(replace(unreachable, listed={}), NOW)
    assert finding.means == "No good backup of it can be read while primary is unreachable."


def test_damaged_backup_names_its_verified_copy() -> None:
    damaged = replace(REJECTION, backup_id=NEWEST.backup_id)
    [finding] = [one for one in assess(replace(WELL, rejections=[damaged]), NOW) if "rejected" in one.key]
    assert "a verified copy is in primary and offsite" in finding.remedy
    alone = replace(REJECTION, backup_id="20250101T020004Z-7f3a91")
    assert "no verified copy of it is known" in assess(replace(WELL, rejections=[alone]), NOW)[0].remedy


def test_a_date_that_has_not_come_hides_no_missing_backup() -> None:
    facts = primary([AHEAD, *nights(first=2)])
    assert [one.key for one in assess(facts, NOW)] == ["shop/today", f"shop/misdated/{AHEAD.backup_id}"]
    assert assess(facts, NOW)[0].means.startswith("Its last good backup is 20261121T020004Z-7f3a91, 2 days 1 h old")


def test_a_proof_of_a_clock_that_was_ahead_does_not_count() -> None:
    entries = [listed(LAST_NIGHT, restored=NOW + 90 * DAY), *unproven(40).listed["primary"][1:]]
    [finding] = assess(replace(unproven(40), listed={"primary": entries, "offsite": entries[:1]}), NOW)
    assert finding.what.startswith("No restore was ever proven")


def test_before_the_next_backup_is_due_the_last_one_counts() -> None:
    """Backups at 06:00, and a check at 03:00: the one of yesterday morning is the last that can be there."""
    due = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    backups = {"primary": [listed(due + timedelta(seconds=4)), *nights(first=1)]}
    facts = expecting(replace(primary([]), listed=backups), due=due)
    assert assess(facts, NOW) == []
    [finding] = assess(replace(facts, listed={"primary": nights(first=1)}), NOW)
    assert finding.what == "There is no backup of 2026-11-22 06:00 UTC."


def test_a_clock_that_is_seconds_behind_misses_no_backup() -> None:
    early = [listed(EXPECTED.due - timedelta(seconds=30)), *nights(first=1)]
    assert assess(replace(primary([]), listed={"primary": early}), NOW) == []


def test_the_gravest_comes_first() -> None:
    facts = replace(newest(size=1), rejections=[REJECTION], copies={})
    assert [finding.severity for finding in assess(facts, NOW)] == ["critical", "high", "medium"]


def test_rejected_copy_is_one_finding() -> None:
    damaged = replace(REJECTION, repository="offsite", backup_id=NEWEST.backup_id)
    entries = without_newest([listed(LAST_NIGHT, rejected=NOW)])
    [finding] = assess(replace(offsite(entries), rejections=[damaged]), NOW)
    assert finding.severity == "critical"


def test_many_names_are_cut() -> None:
    before = manifest(LAST_NIGHT - DAY, {f"t{number}": 1 for number in range(8)} | TABLES)
    [finding] = assess(replace(WELL, previous=before), NOW)
    assert "public.t3 1 -> gone, public.t4 1 -> gone and 3 more" in finding.what


def test_what_a_backup_of_files_warns_of_is_a_finding() -> None:
    for details, words in (
        ({"files": 5, "unreadable": 2_000}, "2,000 unreadable"),
        ({"files": 5, "outcomes": {"unreadable": 3}}, "3 unreadable"),  # as older ones say it
        ({"files": 0}, "it has no files"),
        ({"files": 5, "mounts_gone": ["media/"]}, "media/"),
    ):
        newest = NEWEST.model_copy(update={"details": details})
        found = assess(replace(WELL, newest=newest), NOW)
        assert [(one.key, one.severity) for one in found] == [("shop/incomplete", "high")]
        assert words in found[0].what
    assert assess(replace(WELL, newest=NEWEST.model_copy(update={"details": {"files": 5}})), NOW) == []


def test_remedies_name_the_dags_of_the_source() -> None:
    others = Dags("take_files", "restore_files", "repair_files", "check_files")
    for _, facts, *_ in KNOWN_BAD:
        expected = [finding.remedy for finding in assess(facts, NOW)]
        for own, other in zip(astuple(EXPECTED.dags), astuple(others), strict=True):
            expected = [remedy.replace(own, other) for remedy in expected]
        assert [one.remedy for one in assess(expecting(facts, dags=others), NOW)] == expected
