"""The report of a run, for machines (JSON) and for people (Markdown, and in short in a message)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from backup_playbook.core.markdown import cell, markdown_table


class Table(BaseModel):
    """A table of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Report(BaseModel):
    """The end of a run. kind: names the file, such as `restore-test`.

    headline: what happened, to what. in_short: what it means, for the message. failed_step, problem: empty when all
    went well. took: until what was restored was ready, without waits for people. repository: where the report goes
    first, and the backup was read from. facts: Markdown by title, a line each. remarks: sentences that are no failure,
    and still worth a look. undo: Markdown; empty when nothing is to be undone. details: for machines alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    source: str
    headline: str
    in_short: str = ""
    failed_step: str = ""
    problem: str = ""
    backup_id: str = ""
    taken_at: datetime | None = None
    repository: str = ""
    run_id: str
    run_url: str
    started_at: datetime
    finished_at: datetime
    approved_by: str = ""
    phases: dict[str, float] = {}
    took: timedelta | None = None
    rto_objective: timedelta | None = None
    facts: dict[str, str] = {}
    tables: tuple[Table, ...] = ()
    remarks: tuple[str, ...] = ()
    undo: str = ""
    details: dict[str, Any] = {}

    @property
    def passed(self) -> bool:
        """Whether every step of the run did what it should."""
        return not self.failed_step

    @property
    def name(self) -> str:
        """The name of its files below `reports/<source>/`, without a suffix."""
        return f"{self.kind}-{self.finished_at:%Y%m%dT%H%M%SZ}"

    def to_json(self) -> bytes:
        """Return the document for machines."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def to_markdown(self) -> str:
        """Return the document for people."""
        backup = f"`{self.backup_id}`, taken {utc(self.taken_at)}, from repository {self.repository}"
        lines = [
            f"# {self.headline}",
            "",
            *([cell(re.sub("[`*]", "", self.in_short)), ""] if self.in_short else []),
            *([f"- what failed: `{self.failed_step}`: {cell(self.problem)}"] if self.failed_step else []),
            *([f"- backup: {backup}"] if self.backup_id else []),
            *(f"- {title}: {fact}" for title, fact in self.facts.items()),
            *(f"- {cell(remark)}" for remark in self.remarks),
            *([f"- approved by: {cell(self.approved_by)}"] if self.approved_by else []),
            *([f"- to undo: {self.undo}"] if self.undo else []),
            f"- run: {self.run_url or self.run_id}; started {utc(self.started_at)}, ended {utc(self.finished_at)}",
        ]
        phases = [(name, f"{seconds:.1f} s") for name, seconds in self.phases.items()]
        lines += markdown_table("Phases", ("phase", "took"), phases)
        for table in self.tables:
            lines += markdown_table(table.title, table.head, table.rows)
        return "\n".join([*lines, ""])


def utc(moment: datetime | None) -> str:
    """Return `2026-11-23 12:00:00 UTC`; `unknown` for None."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "unknown"
