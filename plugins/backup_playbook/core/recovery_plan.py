"""Plan of a recovery, for the person who approves it: which backup, what is lost, how long, how to undo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_playbook.core.markdown import cell, code, markdown_table
from backup_playbook.core.progress import human_age, human_bytes, human_seconds
from backup_playbook.core.words import EngineWords, ExchangeWords, counted

SHOWN = 50


@dataclass(frozen=True)
class Candidate:
    """A backup that could be taken.

    known: proven, verified, rejected or UNVERIFIED, in words. then: rows by table. evidence: results of its checks.
    option: answer of a person who takes it; empty when it cannot be taken. seal: of its manifest.
    """

    backup_id: str
    taken_at: datetime
    known: str
    then: Mapping[str, int]
    evidence: str = ""
    option: str = ""
    seal: str = ""
    origin: str = ""


@dataclass(frozen=True)
class RecoveryPlan:
    """A recovery before its approval.

    now: rows by table in production; empty when they cannot be counted, for the reason in `uncounted`.
    choose: a person takes one of the candidates, newest first; all statements on one backup are then on the newest.
    undo_dag, release_dag: DAGs that bring the quarantine back, and that drop it.
    """

    source: str
    words: EngineWords
    exchange: ExchangeWords
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
    undo_dag: str
    release_dag: str
    remarks: Sequence[str] = ()
    candidates: Sequence[Candidate] = ()
    choose: bool = False

    def in_short(self, at: datetime) -> str:
        """Sentence for messages. at: now, for the age of the backup."""
        if self.choose:
            backups = counted(len(self._offered()), "backup")
            return f"Choose one of {backups} from {self.repository} to replace {self.live}."
        return (
            f"{self.backup_id} from {self.repository} ({self.known}), {human_age(at - self.taken_at)} old, "
            f"replaces {self.live}; restore with proof: {self._duration()}."
        )

    def to_markdown(self, at: datetime) -> str:
        """Page for the approval. at: now, for the age of the backup."""
        age = human_age(at - self.taken_at)
        backup = (
            "**Backup:** it is not known when the data was still right. Choose the newest backup that is good, by the "
            "rows of its tables beside those of now."
            if self.choose
            else f"**Backup:** `{self.backup_id}` from repository {self.repository}; taken {_time(self.taken_at)}, "
            f"{age} ago; {self.known}; {human_bytes(self.content_bytes)}."
        )
        since = "the time of the backup" if self.choose else f"{_time(self.taken_at)}: the work of {age}"
        steps = [
            backup,
            (
                f"**What will be lost:** every write to {cell(self.live)} after {since}. "
                "It stays in the quarantine, and can be looked up there."
            ),
            (
                f"**How long:** restore with proof {self._duration()}; the objective (RTO) is {_span(self.rto)}. "
                f"{self.exchange.pause}"
            ),
            f"**What will be touched:** {self._touched()} {self.maintenance}",
            (
                "**How to undo it:** before the exchange, nothing is to be undone. After it, "
                f"`{self.undo_dag}` brings the quarantine back in seconds. `{self.release_dag}` drops it, for good."
            ),
        ]
        return "\n".join([
            *(f"{text}\n" for text in steps),
            *(f"- {cell(remark)}" for remark in self.remarks),
            *(self._choice(at) if self.choose else [*self._rows(), *self._others()]),
            "",
        ])  # fmt: skip

    def _touched(self) -> str:
        return self.exchange.touched.format(live=code(self.live), quarantine=code(self.quarantine))

    def _duration(self) -> str:
        return f"about {_span(self.estimate)}" if self.estimate else "not measured yet"

    def _rows(self) -> Iterator[str]:
        if self.uncounted:
            yield f"\nThe rows of production cannot be counted now: {cell(self.uncounted)}"
            return
        words = self.words
        differing = [name for name in sorted(self.then.keys() | self.now.keys()) if self._differs(name)]
        same = len(self.then) - sum(name in self.then for name in differing)
        yield f"\nAs many {words.row}s now as in the backup: {counted(same, words.table)}."
        rows = [(name, _count(self.then.get(name)), _count(self.now.get(name))) for name in differing]
        yield from markdown_table(
            f"{words.row.title()}s that differ", (words.table, "in the backup", "now"), rows, SHOWN
        )

    def _differs(self, name: str) -> bool:
        return self.then.get(name) != self.now.get(name)

    def _others(self) -> list[str]:
        rows = [
            (one.backup_id, _time(one.taken_at), one.known, f"{sum(one.then.values()):,}") for one in self.candidates
        ]
        title = "Other backups: to take one, reject this, and start again with its id"
        return markdown_table(title, ("backup", "taken", "known to be", "rows"), rows)

    def _offered(self) -> list[Candidate]:
        return [one for one in self.candidates if one.option]

    def _choice(self, at: datetime) -> Iterator[str]:
        backups = [
            (
                one.option or f"{one.backup_id} cannot be chosen",
                _time(one.taken_at),
                human_age(at - one.taken_at),
                one.known,
                one.evidence or "none",
                f"{sum(one.then.values()):,}" if one.option else "",
            )
            for one in self.candidates
        ]
        head = ("choose", "taken", "lost: the work of", "known to be", "integrity results", "rows")
        yield from markdown_table("Backups, newest first", head, backups)
        yield "\nFor an older one, reject this, and start again with an earlier time of the corruption, or with its id."
        if self.uncounted:
            yield f"\nThe rows of production cannot be counted now: {cell(self.uncounted)}"
        words = self.words
        counts = [*([] if self.uncounted else [self.now]), *(one.then for one in self._offered())]
        names = sorted({name for count in counts for name in count})
        differing = [name for name in names if len({count.get(name) for count in counts}) > 1]
        yield f"\nAs many {words.row}s in all of these: {counted(len(names) - len(differing), words.table)}."
        rows = [(name, *(_count(count.get(name)) for count in counts)) for name in differing]
        columns = [*([] if self.uncounted else ["now"]), *(f"{one.taken_at:%m-%d %H:%M}" for one in self._offered())]
        yield from markdown_table(
            f"{words.row.title()}s that differ, now and then", (words.table, *columns), rows, SHOWN
        )


def _count(rows: int | None) -> str:
    return "no such table" if rows is None else f"{rows:,}"


def _span(time: timedelta) -> str:
    return human_seconds(time.total_seconds())


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
