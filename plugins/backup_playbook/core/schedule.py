"""Schedules, as cron writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from croniter import croniter


def last_due(cron: str, within: timedelta, now: datetime) -> datetime:
    """Start (aware, UTC) of the last run of a schedule that should have ended by now.

    cron: in UTC. within: time that a run has to end. Raises ValueError for what is no schedule.
    """
    # the previous time is strictly before: one microsecond later, a run that has just become due is the last one
    found: datetime = croniter(cron, now.astimezone(UTC) - within + timedelta(microseconds=1)).get_prev(datetime)
    return found
