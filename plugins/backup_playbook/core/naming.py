"""Names that become S3 keys: backup ids, timestamps, slugs.

A name that comes from a database is data. It never becomes a key, a file name or a shell word; `slug` makes a
harmless hint for people out of it, and the manifest holds the real one.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

BACKUP_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_STAMP = "%Y%m%dT%H%M%S"


def new_backup_id(now: datetime) -> str:
    """New backup id, such as `20261123T020004Z-7f3a91`: sorts by time, and two runs of one second do not collide."""
    return f"{now.astimezone(UTC).strftime(_STAMP)}Z-{secrets.token_hex(3)}"


def is_backup_id(text: str) -> bool:
    """Whether the text is a backup id."""
    return BACKUP_ID.fullmatch(text) is not None


def backup_time(backup_id: str) -> datetime:
    """Start of the backup (aware, UTC). Raises ValueError when `backup_id` is none."""
    if not is_backup_id(backup_id):
        raise ValueError(f"{backup_id!r} is not a backup id such as 20261123T020004Z-7f3a91")
    return datetime.strptime(backup_id[:15], _STAMP).replace(tzinfo=UTC)


def evidence_stamp(at: datetime) -> str:
    """Time in UTC with milliseconds, `20261123T020513042Z`: evidence of one backup sorts by time."""
    at = at.astimezone(UTC)
    return f"{at.strftime(_STAMP)}{at.microsecond // 1000:03d}Z"


def stamp_time(stamp: str) -> datetime:
    """Time (aware, UTC) of an `evidence_stamp`."""
    return datetime.fromisoformat(f"{stamp[:15]}.{stamp[15:18]}+00:00")


def slug(name: str, length: int = 40) -> str:
    """A readable, harmless hint for `name`: ASCII letters, digits, `_` and `.`; not unique, not reversible."""
    return re.sub(r"[^a-z0-9_.]+", "-", name.lower()).strip("-.")[:length] or "x"
