"""Which differences between a backup and production the age of the backup explains."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_playbook.core.comparison import TableComparison, compare_rows

DAY = timedelta(days=1)
counts = st.dictionaries(st.sampled_from(["a.x", "a.y", "b.z"]), st.integers(0, 10**9))


@pytest.mark.parametrize(
    ("then", "now", "remark"),
    [
        (1000, 1000, ""),
        (1000, 1100, ""),
        (1000, 900, ""),
        (10, 110, ""),
        (1000, 1101, "has 101 rows more in production; up to 100 would be usual"),
        (2000, 1000, "has 1,000 rows fewer in production; up to 200 would be usual"),
        (1, 0, "is empty in production"),
        (0, 0, ""),
        (5, None, "is in the backup, and not in production any more"),
        (None, 5, "is in production, and younger than the backup"),
    ],
)
def test_remarks(then: int | None, now: int | None, remark: str) -> None:
    sides = [{} if rows is None else {"t": rows} for rows in (then, now)]
    assert compare_rows(*sides, DAY) == [TableComparison("t", then, now, remark)]


def test_fast_table_may_change_as_fast_as_it_did() -> None:
    """It grew by 1,000 a day; after 3 days, five times that speed is still no news."""
    before, then = {"t": 1_000}, {"t": 2_000}
    assert compare_rows(then, {"t": 17_000}, 3 * DAY, before, DAY)[0].remark == ""
    assert "up to 15,000 would be usual" in compare_rows(then, {"t": 17_001}, 3 * DAY, before, DAY)[0].remark


def test_remarks_come_first() -> None:
    compared = compare_rows({"a": 1, "z": 1}, {"a": 1}, DAY)
    assert [item.table for item in compared] == ["z", "a"]


@given(counts, counts, st.timedeltas(min_value=timedelta()), counts, st.timedeltas(min_value=timedelta()))
def test_every_table_once(then, now, age, before, span) -> None:  # type: ignore[no-untyped-def]
    compared = compare_rows(then, now, age, before, span)
    assert sorted(item.table for item in compared) == sorted(then.keys() | now.keys())
    assert all(item.then == then.get(item.table) and item.now == now.get(item.table) for item in compared)


@given(counts, st.timedeltas(min_value=timedelta()))
def test_production_that_did_not_change_gets_no_remark(then, age) -> None:  # type: ignore[no-untyped-def]
    assert [item for item in compare_rows(then, then, age) if item.remark] == []
