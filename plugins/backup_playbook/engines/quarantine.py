"""Quarantines: databases that were replaced and are kept, in words that engines share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_playbook.core.errors import GuardError


@dataclass(frozen=True)
class Quarantine:
    """A replaced database. live: its former name. by: the run that replaced it.

    comment: the one that a Postgres database had. bytes: 0 where nobody counts them.
    """

    name: str
    source: str
    live: str
    quarantined_at: datetime
    by: str
    comment: str | None = None
    bytes: int = 0


def wanted_quarantine(found: Sequence[Quarantine], source: str, wanted: str, label: str) -> Quarantine:
    """Choose a quarantine. found: the source's, newest first. wanted: a name, or `newest`. Raises GuardError."""
    for one in found:
        if wanted in ("newest", one.name):
            return one
    names = ", ".join(one.name for one in found)
    raise GuardError(
        f"{label} has no quarantine {'' if wanted == 'newest' else wanted!r} of {source}."
        if names
        else f"{label} has no quarantine of {source}.",
        f"Choose one of: {names}." if names else "Nothing is to be done: nothing was replaced, or it was released.",
    )
