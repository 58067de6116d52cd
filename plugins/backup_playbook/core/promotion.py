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
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from backup_playbook.core.errors import GuardError

State = Literal["before", "closed", "promoted"]

_NAME_BYTES = 63
_INFIX = "__quarantine_"
_STAMP = "%Y%m%d_%H%M%S"
_QUARANTINE = re.compile(rf".+{_INFIX}\d{{8}}_\d{{6}}")


@dataclass(frozen=True)
class DatabaseEntry:
    """A row of pg_database."""

    oid: int
    accepts_connections: bool


@dataclass(frozen=True)
class Promoted:
    """Result of a promotion.

    unreachable_seconds: from when the old database refused connections, or was renamed, until the new one replaced it;
    0.0 when an earlier run did it. sessions_ended: their work, if it was not committed, was rolled back.
    """

    unreachable_seconds: float
    sessions_ended: int


@dataclass(frozen=True)
class Swap:
    """A planned promotion. The oids were read when it was planned: a name may lead elsewhere since."""

    live: str
    live_oid: int
    candidate: str
    candidate_oid: int
    quarantine: str
    """Name of the live database afterwards."""

    def state(self, databases: Mapping[str, DatabaseEntry]) -> State:
        """State of production.

        Raises GuardError when the names lead to other databases than planned: somebody else was at work.
        """
        live, candidate, quarantine = (databases.get(name) for name in (self.live, self.candidate, self.quarantine))
        match (live and live.oid, candidate and candidate.oid, quarantine and quarantine.oid):
            case (self.live_oid, self.candidate_oid, None):
                assert live is not None
                return "before" if live.accepts_connections else "closed"
            case (self.candidate_oid, None, self.live_oid):
                return "promoted"
        raise GuardError(
            f"{self.live} and {self.candidate} are not the databases (oid {self.live_oid} and {self.candidate_oid}) "
            "that this run has seen at its start: another recovery, or a person, has renamed or replaced one.",
            f"Nothing was touched. See which databases there are (SELECT oid, datname FROM pg_database), and start a "
            f"new run for {self.live}.",
        )


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
