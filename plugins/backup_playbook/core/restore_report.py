"""Report of a restore, for machines (JSON) and for people (Markdown)."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from backup_playbook.core.comparison import TableComparison
from backup_playbook.core.markdown import cell, code, markdown_table
from backup_playbook.core.progress import human_bytes, human_seconds
from backup_playbook.core.words import EngineWords, counted


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProvenTable(_Record):
    """A table whose restored rows have the digest of the manifest. bytes: of its rows as text."""

    table: str
    rows: int
    bytes: int


class CheckResult(_Record):
    """Result of an application check."""

    name: str
    ok: bool
    detail: str
    seconds: float


class RestoreReport(_Record):
    """A restore that ended.

    phases: seconds by step, in their order. failed_step: empty when all succeeded.
    """

    source: str
    engine: str
    backup_id: str
    taken_at: datetime
    repository: str
    target: str
    run_id: str
    run_url: str
    started_at: datetime
    finished_at: datetime
    failed_step: str = ""
    problem: str = ""
    phases: dict[str, float]
    rto_objective: timedelta
    content_bytes: int
    proven: tuple[ProvenTable, ...] = ()
    comparison: tuple[TableComparison, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    title: str = "Restore test"
    kept: str = ""
    """Database that stays; empty: none does."""
    undo: str = ""
    """Statement that drops it."""
    words: EngineWords = EngineWords()
    left_out: tuple[str, ...] = ()
    """Parts that the copy did not get, in words."""
    recomputed: tuple[str, ...] = ()
    """Parts that were computed anew in the copy, and not compared, in words."""
    chosen: str = ""
    """Sentence that says why another repository than usual was read; empty for the usual one."""

    @property
    def passed(self) -> bool:
        """Whether all steps succeeded."""
        return not self.failed_step

    @property
    def rto(self) -> timedelta:
        """Time from the choice of the backup to a database that is ready for use."""
        return self.finished_at - self.started_at

    @property
    def within_rto(self) -> bool:
        """Whether the objective was met."""
        return self.rto <= self.rto_objective

    @property
    def remarks(self) -> list[str]:
        """Sentences on what is no failure, and still worth a look."""
        late = [] if self.within_rto else [f"It took longer than the RTO of {_seconds(self.rto_objective)}."]
        return (
            late
            + ([self.chosen] if self.chosen else [])
            + [f"Compared with production: {item.table} {item.remark}." for item in self.comparison if item.remark]
        )

    @property
    def restore_seconds(self) -> float:
        """Duration of the restore alone."""
        return sum(seconds for name, seconds in self.phases.items() if name.startswith("restore"))

    def in_short(self) -> str:
        """Sentences for messages: what was shown, or what failed."""
        if not self.passed:
            return f"`{self.failed_step}` failed for {self.backup_id} from {self.repository}. {self.problem}"
        met = "within" if self.within_rto else "*over*"
        checks = f"{counted(len(self.checks), 'application check')} passed; " if self.checks else ""
        return (
            f"{self.backup_id} from {self.repository}: {self._proven()} equal byte for byte; {checks}"
            f"took {_seconds(self.rto)}, {met} the RTO of {_seconds(self.rto_objective)}.{self._beside()}"
        )

    def _beside(self) -> str:
        """Sentences on parts that the word `equal` does not cover."""
        said = (("Computed anew, not compared", self.recomputed), ("Not in the copy", self.left_out))
        return "".join(f" {words}: {', '.join(what)}." for words, what in said if what)

    def headline(self) -> str:
        """Headline of the report and of messages."""
        verdict = "restored and proven equal" if self.passed else f"FAILED at {self.failed_step}"
        return f"{self.title} of {self.source}: {verdict}"

    def to_json(self) -> bytes:
        """Document for the repository."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def to_markdown(self) -> str:
        """Page for people."""
        return "\n".join([*self._summary(), *self._phases(), *self._checks(), *self._comparison(), *self._proof(), ""])

    def _proven(self) -> str:
        rows = sum(table.rows for table in self.proven)
        size = human_bytes(self.content_bytes)
        return f"{self.words.amount(len(self.proven), rows)}, {size}" if self.proven else size

    def _summary(self) -> list[str]:
        met = "within" if self.within_rto else "**over**"
        took, objective = _seconds(self.rto), _seconds(self.rto_objective)
        lines = [
            f"# {self.headline()}",
            "",
            f"- backup: `{self.backup_id}`, taken {_time(self.taken_at)}, read from repository {self.repository}",
            f"- restored into: {cell(self.target)}",
            f"- took {took}, {met} the objective (RTO) of {objective}; from {_time(self.started_at)} on",
        ]
        if self.proven:
            lines.append(f"- proven byte for byte: {self._proven()}")
        if self.left_out:
            lines.append(f"- left out: {cell('; '.join(self.left_out))}")
        if self.recomputed:
            lines.append(f"- computed anew, and not compared: {cell('; '.join(self.recomputed))}")
        if self.kept:
            lines.append(f"- stays as {code(self.kept)}; to undo: {code(self.undo)}")
        if self.chosen:
            lines.append(f"- {cell(self.chosen)}")
        if not self.passed:
            lines.append(f"- what failed: `{self.failed_step}`: {cell(self.problem)}")
        return [*lines, f"- run: {self.run_url or self.run_id}"]

    def _phases(self) -> list[str]:
        return markdown_table(
            "Phases", ("phase", "seconds"), [(name, f"{value:.1f}") for name, value in self.phases.items()]
        )

    def _checks(self) -> list[str]:
        rows = [(item.name, "ok" if item.ok else "FAILED", item.detail) for item in self.checks]
        return markdown_table("Application checks", ("check", "result", "detail"), rows)

    def _comparison(self) -> list[str]:
        rows = [(item.table, _count(item.then), _count(item.now), item.remark) for item in self.comparison]
        return markdown_table("Rows then and now", ("table", "in the backup", "in production", "remark"), rows)

    def _proof(self) -> list[str]:
        rows = [(item.table, f"{item.rows:,}", f"{item.bytes:,}", "equal") for item in self.proven]
        return markdown_table("Proof", ("table", "rows", "bytes", "digest"), rows)


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"


def _seconds(time: timedelta) -> str:
    return human_seconds(time.total_seconds())


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
