"""Report of a recovery, for machines (JSON) and for people (Markdown)."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from backup_playbook.core.markdown import cell, code, markdown_table
from backup_playbook.core.progress import human_age, human_seconds


class Difference(BaseModel):
    """A table in the quarantine (`before`) and in the restored database (`after`): rows, or why it is unreadable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    before: int | str | None
    after: int | None


class RecoveryReport(BaseModel):
    """A recovery that ended.

    phases: seconds by step, in their order. failed_step: empty when all succeeded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    engine: str
    live: str
    backup_id: str
    taken_at: datetime
    repository: str
    quarantine: str
    run_id: str
    run_url: str
    started_at: datetime
    finished_at: datetime
    waited: timedelta
    """Time until the approval."""
    approved_by: str
    failed_step: str = ""
    problem: str = ""
    promoted_at: datetime | None = None
    unreachable_seconds: float | None = None
    sessions_ended: int = 0
    exchanged: str = ""
    """Sentence on how production was exchanged."""
    undo_dag: str
    maintenance: str
    maintenance_window: timedelta | None = None
    phases: dict[str, float]
    rto_objective: timedelta
    differences: tuple[Difference, ...] = ()
    amcheck: str = ""
    log: str = ""
    left_out: tuple[str, ...] = ()
    """Parts that the copy did not get, in words."""
    recomputed: tuple[str, ...] = ()
    """Parts that were computed anew in the copy, and not compared, in words."""

    @property
    def recovered(self) -> bool:
        """Whether production was replaced."""
        return self.promoted_at is not None

    @property
    def rto(self) -> timedelta:
        """Time until production answered again, or until the end; without the wait for approval."""
        return (self.promoted_at or self.finished_at) - self.started_at - self.waited

    def headline(self) -> str:
        """Headline of the report and of messages."""
        if self.failed_step:
            after = ", after production was exchanged" if self.recovered else "; production is what it was"
            return f"Recovery of {self.source} failed at {self.failed_step}{after}"
        return f"{self.source} was recovered from {self.backup_id}"

    def in_short(self) -> str:
        """Sentences for messages."""
        took = human_seconds(self.rto.total_seconds())
        if not self.recovered:
            return f"{self.problem} {self.maintenance}"
        met = "within" if self.rto <= self.rto_objective else "*over*"
        lost = human_age((self.promoted_at or self.finished_at) - self.taken_at)
        words = [
            f"Took {took} without the wait for approval, {met} the RTO of {_span(self.rto_objective)}.",
            f"Lost: the writes of {lost}, since {_time(self.taken_at)}; they are in {self.quarantine}.",
            self.problem,
            self.maintenance,
        ]
        return " ".join(filter(None, words))

    def undo(self) -> str:
        """Command that undoes the recovery."""
        if not self.recovered:
            return "Nothing is to be undone."
        conf = f'{{"source": "{self.source}", "quarantine": "{self.quarantine}"}}'
        return f"airflow dags trigger {self.undo_dag} --conf '{conf}'"

    def to_json(self) -> bytes:
        """Document for the repository."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def to_markdown(self) -> str:
        """Page for people."""
        timeline = [
            ("started", _time(self.started_at)),
            ("waited for approval", f"{_span(self.waited)}; approved by {self.approved_by or 'nobody'}"),
            *((name, f"{seconds:.1f} s") for name, seconds in self.phases.items()),
            *([("exchanged", _time(self.promoted_at))] if self.promoted_at else []),
            *([("maintenance mode", _span(self.maintenance_window))] if self.maintenance_window else []),
            ("finished", _time(self.finished_at)),
        ]
        differences = [(one.table, _shown(one.before), _shown(one.after)) for one in self.differences]
        return "\n".join([
            f"# {self.headline()}",
            "",
            cell(self.in_short()),
            "",
            f"- backup: `{self.backup_id}`, taken {_time(self.taken_at)}, from repository {self.repository}",
            *([f"- replaced: {cell(self.live)}, kept as {code(self.quarantine)}"] if self.recovered else []),
            *([f"- {self.exchanged}"] if self.exchanged else []),
            f"- to undo: {code(self.undo())}",
            *([f"- not in the copy: {cell('; '.join(self.left_out))}"] if self.left_out else []),
            *([f"- computed anew, and not compared: {cell('; '.join(self.recomputed))}"] if self.recomputed else []),
            *([f"- pg_amcheck of the quarantine: {cell(self.amcheck)}"] if self.amcheck else []),
            *([f"- server log: {cell(self.log)}"] if self.log else []),
            f"- run: {self.run_url or self.run_id}",
            *markdown_table("Timeline", ("what", "when, or how long"), timeline),
            *markdown_table("Rows before and after", ("table", "in the quarantine", "restored"), differences),
            "",
        ])  # fmt: skip


def _shown(value: int | str | None) -> str:
    return "no such table" if value is None else f"{value:,}" if isinstance(value, int) else value


def _span(time: timedelta) -> str:
    return human_seconds(time.total_seconds())


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
