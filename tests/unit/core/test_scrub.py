"""Which backups are read again, day after day."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.scrub import is_late, plan_scrub
from backup_playbook.repository.catalog import CatalogEntry
from backup_playbook.repository.layout import EvidenceName
from tests.support.backups import listed

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
DAY = timedelta(days=1)
MONTH = 30 * DAY


def read_days_ago(*days: float) -> list[CatalogEntry]:
    """In that order; each was taken a year ago."""
    taken = NOW - 365 * DAY
    return [listed(taken + place * DAY, verified=NOW - age * DAY) for place, age in enumerate(days)]


def read_again(entries: Sequence[CatalogEntry], at: datetime) -> None:
    for entry in entries:
        entry.evidence.append(EvidenceName(at, EvidenceKind.VERIFIED, "full"))


def test_share_that_was_unread_the_longest() -> None:
    entries = read_days_ago(*(1 + place / 4 for place in range(61)))
    assert plan_scrub(entries, MONTH, NOW) == [entries[60], entries[59], entries[58]]


def test_everything_that_would_be_late_tomorrow() -> None:
    entries = read_days_ago(40, 31, 29.5, 28, 5)
    assert plan_scrub(entries, MONTH, NOW) == entries[:3]
    assert [is_late(entry, MONTH, NOW) for entry in entries] == [True, True, False, False, False]


def test_nothing_that_was_just_read() -> None:
    assert plan_scrub(read_days_ago(0.02, 0.4), DAY, NOW) == []
    assert plan_scrub([listed(NOW - DAY / 24, verified=None)], MONTH, NOW) == []
    assert plan_scrub([], MONTH, NOW) == []


def test_what_was_never_verified_is_read_from_the_day_it_was_taken() -> None:
    entry = listed(NOW - 3 * DAY, verified=None)
    assert plan_scrub([entry, *read_days_ago(2)], MONTH, NOW) == [entry]


def test_what_was_rejected_is_read_every_day() -> None:
    rejected = listed(NOW - 9 * DAY, rejected=NOW - 0.97 * DAY)
    assert plan_scrub([rejected, *read_days_ago(9)], MONTH, NOW)[1] is rejected


@settings(max_examples=40, deadline=None)
@example(start=[1.0] * 6, days=5, kept=18, delays=[0])
@example(start=[0.6 + place / 4 for place in range(106)], days=6, kept=11, delays=[139, 130])
@given(
    start=st.lists(st.floats(0.6, 29), max_size=120),
    days=st.integers(5, 40),
    kept=st.integers(1, 80),
    delays=st.lists(st.integers(0, 180), min_size=1, max_size=7),
)
def test_every_backup_is_read_in_time_and_no_day_reads_much_more_than_another(
    start: list[float], days: int, kept: int, delays: list[int]
) -> None:
    """Months of nights: one new backup each, the oldest removed; the run reads its last backup minutes later."""
    within = days * DAY
    entries = read_days_ago(*(age * days / 30 for age in start))
    loads = []
    for night in range(4 * days):
        now = NOW + night * DAY
        entries = [*entries, listed(now - DAY / 24)][-max(kept, len(start)) :]
        due = plan_scrub(entries, within, now)
        loads.append((len(due), len(entries)))
        read_again(due, now + timedelta(minutes=delays[night % len(delays)]))
        assert not [entry for entry in entries if is_late(entry, within, now + timedelta(hours=3))]
    settled = loads[2 * days :]
    assert max(load for load, _ in settled) <= math.ceil(max(count for _, count in settled) / (days - 1.5))


@pytest.mark.parametrize("count", [1, 29, 30, 61, 1000])
def test_load_of_a_settled_catalog_is_even(count: int) -> None:
    entries = read_days_ago(*(1 + 27 * place / count for place in range(count)))
    for night in range(60):
        now = NOW + night * DAY
        due = plan_scrub(entries, MONTH, now)
        assert len(due) <= count / 27 + 1
        read_again(due, now)
