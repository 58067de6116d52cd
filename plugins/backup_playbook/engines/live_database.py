"""The contract of engines whose production a restored copy can replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from backup_playbook.core.progress import human_bytes
from backup_playbook.core.promotion import Promoted, State
from backup_playbook.core.words import ExchangeWords
from backup_playbook.engines.contract import ScratchHost, ScratchTarget
from backup_playbook.engines.quarantine import Quarantine
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation


@dataclass(frozen=True)
class Exchange:
    """One database replaces another, as it was planned. by: the run. at: when.

    live_id, candidate_id: the engine's own marks of the two, as `Inspection` and `ScratchTarget` gave them: a name may
    lead elsewhere since. returning: the candidate, when it is a quarantine that comes back.
    """

    live: str
    live_id: str
    candidate: str
    candidate_id: str
    quarantine: str
    by: str
    at: datetime
    returning: Quarantine | None = None


@dataclass(frozen=True)
class Inspection:
    """A live database before it is replaced. live_id: the engine's own mark. remarks: sentences for the plan."""

    live_id: str
    remarks: Sequence[str]


@dataclass(frozen=True)
class Replaced:
    """A quarantine, with the engine's own marks of it and of what has its name now."""

    quarantine: Quarantine
    quarantine_id: str
    live_id: str


@dataclass(frozen=True)
class Investigation:
    """A quarantine beside what replaced it. differences: dictionaries with `table`, `before` and `after`.

    amcheck, log: what the engine's checker and the server's log say, or why they could not be asked; empty: there is
    none.
    """

    differences: Sequence[Mapping[str, Any]] = ()
    amcheck: str = ""
    log: str = ""


class LiveDatabase(Protocol):
    """The production database of a source, as the role that may replace it. Making one contacts nobody.

    What is production is asked for only when something is about to be written or dropped.
    """

    words: ExchangeWords

    @property
    def name(self) -> str:
        """The name under which applications find it."""
        ...

    @property
    def host(self) -> ScratchHost:
        """The place of copies beside it."""
        ...

    def count(self) -> Mapping[str, int]:
        """Count, gently, the rows of every table now, by `namespace.table`. Raises SourceError."""
        ...

    def inspect(self, reader: BackupReader, quarantine: str, leave_out: Sequence[str] = ()) -> Inspection:
        """Look whether it can be replaced by a copy of this backup. quarantine: what it will be called then.

        Raises RestoreError that names everything that stands in the way, with the remedies.
        """
        ...

    def side_by_side(self, name: str, owner: str = "", leave_out: Sequence[str] = ()) -> ScratchTarget:
        """Return a copy that can replace it, with owners and grants, made already or not. Contacts nobody."""
        ...

    def promote(self, exchange: Exchange) -> Promoted:
        """Let the candidate replace it; what was live becomes the quarantine. Can be repeated.

        Raises GuardError when they are not what was planned, RestoreError otherwise; production then is as it was,
        unless the error says that it is not.
        """
        ...

    def reopen(self, exchange: Exchange) -> State:
        """Mend what a killed `promote` left closed or half done. Returns what was found. Raises GuardError."""
        ...

    def require_usable(self) -> None:
        """Raise PlaybookError when production, as it is now, cannot be used."""
        ...

    def investigate(self, live: str, quarantine: str, cancellation: Cancellation) -> Investigation:
        """Compare the quarantine with what replaced it, for those who look for the cause."""
        ...

    def find_quarantine(self, wanted: str) -> Replaced:
        """Find what was replaced. wanted: a name, or `newest`. Raises GuardError when there is none."""
        ...

    def release(self, quarantine: str) -> None:
        """Drop a quarantine for good; do nothing when it is gone. Raises GuardError when it is none of this source."""
        ...


def room_remark(free: int | None, needed: int) -> str:
    """Return the sentence of a plan about free space; sizes in bytes, free: None when it could not be found out."""
    if free is None:
        return f"Free disk space could not be found out; the copy needs about {human_bytes(needed)}."
    return f"The server has {human_bytes(free)} free; the copy needs about {human_bytes(needed)}."


def differing(before: Mapping[str, int | str], after: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the tables that differ, for `Investigation`. before: rows, or why a table is unreadable."""
    return [
        {"table": table, "before": before.get(table), "after": after.get(table)}
        for table in sorted(before.keys() | after.keys())
        if before.get(table) != after.get(table)
    ]
