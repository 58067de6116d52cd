"""Choice of older backups to read again today, so that bit rot and tampering are found before a restore.

Every day reads an equal share, those first that were not read for the longest time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from backup_playbook.core.recovery_points import AnyBackup, Backup

DAY = timedelta(days=1)
JUST_READ = timedelta(hours=12)
"""Time in which nothing is read twice: half a day, so that a run that starts early reads damaged backups again."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
RESERVE = DAY + JUST_READ
"""Time within which a backup that becomes late is read now: the next run comes to its last backup somewhat later."""


def plan_scrub(
    backups: Iterable[AnyBackup], within: timedelta, now: datetime, *, asked: bool = False
) -> list[AnyBackup]:
    """Choose the backups of one source in one repository to read now, longest unread first.

    within: each is to be read at least this often. Three groups: an equal share of all; what would be late before
    tomorrow's run; and what the last reading rejected, until it is repaired or removed. asked: a person wants to know,
    who may have repaired just now what was just found damaged.
    """
    everything = sorted(backups, key=lambda one: (_unread_since(one, now), one.backup_id))
    # in a round of all that is shorter than `within`: else what was read at once is late at once
    share = math.ceil(len(everything) / max(1.0, (within - RESERVE) / DAY))
    return [
        one
        for place, one in enumerate(everything)
        if (asked and one.rejected)
        or (
            now - _unread_since(one, now) >= JUST_READ
            and (place < share or one.rejected or _late_tomorrow(one, within, now))
        )
    ]


def is_late(backup: AnyBackup, within: timedelta, now: datetime) -> bool:
    """Whether a backup was not read again in time."""
    return now - _unread_since(backup, now) > within


def _unread_since(backup: Backup, now: datetime) -> datetime:
    """Time of the last reading. A backup from the future that was not read has waited for nobody knows how long."""
    read = backup.last_read(now)
    return read if read <= now else _LONG_AGO


def _late_tomorrow(backup: AnyBackup, within: timedelta, now: datetime) -> bool:
    return is_late(backup, within, now + RESERVE)
