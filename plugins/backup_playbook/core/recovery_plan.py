"""What a recovery is going to do, for the person who approves it: which backup, what is lost, how long, how to undo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_playbook.core.markdown import cell, markdown_table
from backup_playbook.core.progress import human_age, human_bytes, human_seconds

SHOWN = 50


@dataclass(frozen=True)
class Candidate:
    """Another backup that could be taken. known: `proven`, `verified` or `not verified`."""

    backup_id: str
    taken_at: datetime
    known: str
    rows: int


@dataclass(frozen=True)
class RecoveryPlan:
    """`now`: rows by table in production; empty when they cannot be counted, for the reason in `uncounted`."""

    source: str
    live: str
    quarantine: str
    backup_id: str
    repository: str
    taken_at: datetime
    known: str
    content_bytes: int
    then: Mapping[str, int]
    now: Mapping[str, int]
    uncounted: str
    estimate: timedelta | None
    rto: timedelta
    maintenance: str
    remarks: Sequence[str] = ()
    candidates: Sequence[Candidate] = ()

    def in_short(self, at: datetime) -> str:
        return (
            f"{self.backup_id} from {self.repository} ({self.known}), {human_age(at - self.taken_at)} old, takes the "
            f"place of {self.live}; restore with proof: {self._duration()}."
        )

    def to_markdown(self, at: datetime) -> str:
        """at: now, for the age of the backup."""
        age = human_age(at - self.taken_at)
        steps = [
            (
                f"**Backup:** `{self.backup_id}` from repository {self.repository}; taken {_time(self.taken_at)}, "
                f"{age} ago; {self.known}; {human_bytes(self.content_bytes)}."
            ),
            (
                f"**What will be lost:** every write to {cell(self.live)} after {_time(self.taken_at)}: "
                f"the work of {age}. It stays in the quarantine, and can be looked up there."
            ),
            (
                f"**How long:** restore with proof {self._duration()}; the objective (RTO) is {_span(self.rto)}. "
                "The live name refuses connections for less than two seconds, when the two are exchanged."
            ),
            (
                f"**What will be touched:** a copy is made on the server of `{cell(self.live)}`, proven and checked. "
                f"Only then it takes the live name; what is live now becomes `{cell(self.quarantine)}`, closed and "
                f"unchanged. {self.maintenance}"
            ),
            (
                "**How to undo it:** before the exchange, nothing is to be undone. After it, "
                "`rollback_promotion` brings "
                "the quarantine back in seconds. `release_quarantine` drops it, for good."
            ),
        ]
        return "\n".join([
            *(f"{text}\n" for text in steps),
            *(f"- {cell(remark)}" for remark in self.remarks),
            *self._rows(),
            *self._candidates(),
            "",
        ])  # fmt: skip

    def _duration(self) -> str:
        return f"about {_span(self.estimate)}" if self.estimate else "not measured yet"

    def _rows(self) -> Iterator[str]:
        if self.uncounted:
            yield f"\nThe rows of production cannot be counted now: {cell(self.uncounted)}"
            return
        differing = [name for name in sorted(self.then.keys() | self.now.keys()) if self._differs(name)]
        same = len(self.then) - sum(name in self.then for name in differing)
        yield f"\n{same} tables have as many rows now as in the backup."
        rows = [(name, _count(self.then.get(name)), _count(self.now.get(name))) for name in differing]
        yield from markdown_table("Rows that differ", ("table", "in the backup", "now"), rows, SHOWN)

    def _differs(self, name: str) -> bool:
        return self.then.get(name) != self.now.get(name)

    def _candidates(self) -> list[str]:
        rows = [(one.backup_id, _time(one.taken_at), one.known, f"{one.rows:,}") for one in self.candidates]
        title = "Other backups: to take one, reject this, and start again with its id"
        return markdown_table(title, ("backup", "taken", "known to be", "rows"), rows)


def _count(rows: int | None) -> str:
    return "no such table" if rows is None else f"{rows:,}"


def _span(time: timedelta) -> str:
    return human_seconds(time.total_seconds())


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
