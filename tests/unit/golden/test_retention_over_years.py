"""Retention run night after night over years, as it will be, against plans that a person has read.

After a wanted change of the rules: UPDATE_GOLDEN=1 pytest tests/unit/golden, then read the diff of the .txt files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from backup_playbook.core.retention import Candidate, RetentionPlan, RetentionPolicy, plan_retention

POLICY = RetentionPolicy()
START, END = date(2021, 3, 5), date(2026, 11, 23)
OUTAGE = (date(2024, 2, 10), date(2024, 4, 20))


def at(day: date, hour: int = 2) -> datetime:
    return datetime.combine(day, time(hour, 0, 4), UTC)


def backup(taken_at: datetime, **state: bool) -> Candidate:
    return Candidate(f"{taken_at:%Y%m%dT%H%M%SZ}-7f3a91", taken_at, **{"verified": True, **state})


def days(start: date, end: date) -> Iterator[date]:
    return (start + timedelta(days=offset) for offset in range((end - start).days + 1))


def prune(catalog: list[Candidate], day: date) -> tuple[RetentionPlan, list[Candidate]]:
    plan = plan_retention(catalog, POLICY, at(day, hour=3))
    ids = {decision.backup_id for decision in plan.keep}
    return plan, [one for one in catalog if one.backup_id in ids]


def eventful_years() -> dict[date, RetentionPlan]:
    """The plan of each night of years in which things go wrong, as they do."""
    catalog: list[Candidate] = []
    plans = {}
    for day in days(START, END):
        if OUTAGE[0] <= day <= OUTAGE[1]:
            if day.weekday() == 0:  # now and then a dump comes through, and fails its verification
                catalog.append(backup(at(day), verified=False, rejected=True))
        elif day.toordinal() % 23:  # now and then a night is missing
            catalog.append(backup(at(day), proven=day.weekday() == 0 and day.day <= 7))  # the monthly restore test
        if day in (date(2025, 6, 11), date(2026, 11, 20)):  # by hand, before a migration; the first one is held
            catalog.append(backup(at(day, hour=14), held=day.year == 2025))
        if day == date(2023, 5, 2):  # a scrub finds that the only backup left of 2022's start has rotted
            catalog = [replace(one, rejected=True) if one.taken_at == at(date(2022, 1, 1)) else one for one in catalog]
        plans[day], catalog = prune(catalog, day)
    return plans


def test_the_plans_are_those_that_were_read() -> None:
    plans = eventful_years()
    for day in (
        date(2021, 4, 14),  # six weeks in
        OUTAGE[1],  # ten weeks without a verified backup: what was there is still there
        OUTAGE[1] + timedelta(days=1),  # the first good night
        END,
    ):
        golden = Path(__file__).with_name(f"retention_{day}.txt")
        text = f"{plans[day]}\n"
        if os.environ.get("UPDATE_GOLDEN"):
            golden.write_text(text, encoding="utf-8")
        assert text == golden.read_text(encoding="utf-8"), day


def test_undisturbed_years_end_with_exactly_what_the_policy_says_and_never_hold_much_more() -> None:
    catalog: list[Candidate] = []
    most = 0
    for day in days(date(2019, 11, 1), END):
        catalog.append(backup(at(day)))
        plan, catalog = prune(catalog, day)
        most = max(most, len(plan.keep))

    counts = {tier: str(plan).count(f"({tier} until") for tier in ("daily", "weekly", "monthly", "yearly")}
    assert counts == {"daily": 30, "weekly": 12, "monthly": 12, "yearly": 7}
    assert most <= 30 + 12 + 12 + 7
    assert {one.taken_at.date() for one in catalog if one.taken_at.year < 2025} == {
        date(year, 1, 1) for year in range(2020, 2025)
    }
