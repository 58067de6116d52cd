"""Plan of a restore side by side with production: which backup, where, how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_playbook.core.markdown import cell, code
from backup_playbook.core.progress import human_age, human_bytes, human_seconds
from backup_playbook.core.words import EngineWords


@dataclass(frozen=True)
class RestorePlan:
    """A restore before it begins.

    only: tables that were asked for; empty: all. tables, rows, content_bytes: amounts that will be restored, in bytes.
    free: None when it could not be found out. undo: statement that drops the copy.
    """

    words: EngineWords
    backup_id: str
    repository: str
    taken_at: datetime
    known: str
    database: str
    server: str
    only: Sequence[str]
    tables: int
    rows: int
    content_bytes: int
    left_out: Sequence[str]
    free: int | None
    undo: str
    estimate: timedelta | None
    rto: timedelta
    remark: str = ""
    """Sentence that says why another repository than usual is read; empty for the usual one."""

    def in_short(self, at: datetime) -> str:
        """Sentence for messages. at: now, for the age of the backup."""
        return (
            f"{self.backup_id} from {self.repository} ({self.known}), {human_age(at - self.taken_at)} old, becomes "
            f"{self.database} on {self.server}; restore with proof: {self._duration()}."
        )

    def to_markdown(self, at: datetime) -> str:
        """Page for people. at: now, for the age of the backup."""
        taken = f"taken {self.taken_at:%Y-%m-%d %H:%M:%S UTC}, {human_age(at - self.taken_at)} ago"
        what = f"only those of {', '.join(self.only)}" if self.only else "all"
        data = f"{self.words.amount(self.tables, self.rows)}, {human_bytes(self.content_bytes)}"
        free = "unknown" if self.free is None else human_bytes(self.free)
        steps = [
            f"**Backup:** `{self.backup_id}` from repository {self.repository}; {taken}; {self.known}.",
            *([cell(self.remark)] if self.remark else []),
            f"**What will be touched:** nothing that exists. A copy is made on the server of {code(self.server)}.",
            f"**What will be there:** once proven and checked, {code(self.database)}, without {self.words.not_copied}.",
            f"**Data:** {cell(what)}: {data}.",
            f"**Left out:** {cell('; '.join(self.left_out) or 'nothing')}.",
            f"**How long:** {self._duration()}; the objective (RTO) is {human_seconds(self.rto.total_seconds())}.",
            f"**Free space:** {free}; the copy needs at least {human_bytes(self.content_bytes)}.",
            f"**How to undo it:** {code(self.undo)}",
        ]
        return "\n\n".join([*steps, ""])

    def _duration(self) -> str:
        return f"about {human_seconds(self.estimate.total_seconds())}" if self.estimate else "not measured yet"
