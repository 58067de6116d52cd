"""Promotion of a database that replaces another one: the names, and the states of production meanwhile.

| state | the live name leads to | what running it again does |
|---|---|---|
| `before` | the old database | everything |
| `closed` | the old database, which refuses connections | ends the sessions that are left, and renames |
| `promoted` | the new database; the old one is the quarantine | nothing |

Both renames are one transaction: there is no moment at which the live name leads nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

State = Literal["before", "closed", "promoted"]

_NAME_BYTES = 63
_INFIX = "__quarantine_"
_STAMP = "%Y%m%d_%H%M%S"
_QUARANTINE = re.compile(rf".+{_INFIX}\d{{8}}_\d{{6}}")


@dataclass(frozen=True)
class Promoted:
    """Result of a promotion.

    unreachable_seconds: from when the old database refused connections, or was renamed, until the new one replaced it;
    0.0 when an earlier run did it. sessions_ended: their work, if it was not committed, was rolled back.
    """

    unreachable_seconds: float
    sessions_ended: int


def quarantine_name(live: str, now: datetime) -> str:
    """Name of a quarantine, `shop__quarantine_20261123_120000` (UTC).

    It needs no quotes in SQL. A long name is cut, so that the time stays.
    """
    return _stamped(live, _INFIX, now)


def restored_name(live: str, now: datetime) -> str:
    """Name of a copy that stays beside others, `shop__restored_20261123_120000`."""
    return _stamped(live, "__restored_", now)


def _stamped(live: str, infix: str, now: datetime) -> str:
    ending = f"{infix}{now.astimezone(UTC).strftime(_STAMP)}"
    room = _NAME_BYTES - len(ending)
    return live.encode()[:room].decode(errors="ignore") + ending


def is_quarantine_name(name: str) -> bool:
    """Whether the name is one of a quarantine."""
    return _QUARANTINE.fullmatch(name) is not None
