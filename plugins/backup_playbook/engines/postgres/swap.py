"""The two databases of an exchange, recognised by their oids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backup_playbook.core.errors import GuardError
from backup_playbook.core.promotion import State


@dataclass(frozen=True)
class DatabaseEntry:
    """A row of pg_database."""

    oid: int
    accepts_connections: bool


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
