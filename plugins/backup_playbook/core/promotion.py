"""A database takes the place of another one: the names, and the states that production can be found in meanwhile.

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
    """unreachable_seconds: from when the old one refused connections, or was renamed, until the new one took its
    place; 0.0 when an earlier run did it. sessions_ended: whose work, if it was not committed, was rolled back."""

    unreachable_seconds: float
    sessions_ended: int


def quarantine_name(live: str, now: datetime) -> str:
    """`shop__quarantine_20261123_120000` (UTC): needs no quotes in SQL. A long name is cut, so that the time stays."""
    return _stamped(live, _INFIX, now)


def restored_name(live: str, now: datetime) -> str:
    """`shop__restored_20261123_120000`: of a copy that stays beside others."""
    return _stamped(live, "__restored_", now)


def _stamped(live: str, infix: str, now: datetime) -> str:
    ending = f"{infix}{now.astimezone(UTC).strftime(_STAMP)}"
    room = _NAME_BYTES - len(ending)
    return live.encode()[:room].decode(errors="ignore") + ending


def is_quarantine_name(name: str) -> bool:
    return _QUARANTINE.fullmatch(name) is not None
