"""The run of a schedule that should have ended by now."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.core.schedule import last_due

HOUR = timedelta(hours=1)
DAILY = "0 2 * * *"


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "within", "now", "expected"),
    [
        (DAILY, HOUR, at(23, 3, 0, 4), at(23, 2)),
        (DAILY, HOUR, at(23, 3), at(23, 2)),
        (DAILY, HOUR, at(23, 2, 59, 59), at(22, 2)),
        (DAILY, timedelta(0), at(23, 2), at(23, 2)),
        (DAILY, 30 * HOUR, at(23, 3), at(21, 2)),
        ("0 6 * * *", HOUR, at(23, 3), at(22, 6)),
        ("0 * * * *", HOUR / 2, at(23, 3, 10), at(23, 2)),
        ("@hourly", HOUR / 2, at(23, 3, 40), at(23, 3)),
        ("30 1 * * 1", HOUR, at(22, 3), at(16, 1, 30)),  # the 23rd is a Monday
        (DAILY, HOUR, datetime(2026, 11, 23, 4, 30, tzinfo=timezone(HOUR)), at(23, 2)),
    ],
)
def test_the_last_run_that_should_have_ended(cron: str, within: timedelta, now: datetime, expected: datetime) -> None:
    assert last_due(cron, within, now) == expected


@given(
    cron=st.sampled_from([DAILY, "0 6 * * *", "*/20 * * * *", "0 0 1 * *", "15 3 * * 6,0"]),
    within=st.timedeltas(timedelta(0), timedelta(days=3)),
    after=st.timedeltas(timedelta(0), timedelta(days=700)),
)
def test_it_had_time_to_end_and_the_next_one_had_not(cron: str, within: timedelta, after: timedelta) -> None:
    now = at(1, 0) + after
    found = last_due(cron, within, now)
    assert found + within <= now
    assert last_due(cron, within, found + within) == found
    assert last_due(cron, within, found + within - timedelta(microseconds=1)) < found


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="columns"):
        last_due("nonsense", HOUR, at(23, 3))
