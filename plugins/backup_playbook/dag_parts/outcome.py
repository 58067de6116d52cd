"""What became of each source in one run, and how that is told: pure, from the steps' states and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from backup_playbook.core.progress import human_bytes, human_seconds
from backup_playbook.operators.backup import TakenBackup

MEANING = {
    "dump_compress_upload": "there is no new backup",
    "verify": "the new backup is not verified",
    "copy_offsite": "there is no off-site copy",
    "verify_offsite": "the off-site copy is not verified",
    "prune": "old backups were not removed",
}
"""The steps of one source in their order, and what it means when one does not succeed."""
BACKUP_STEPS = tuple(step for step in MEANING if step != "prune")
"""Without these, the source could not be restored as promised."""


@dataclass(frozen=True)
class Outcome:
    """One source. `failed`: its first step without success. `taken`: what the last good step returned."""

    source: str
    failed: str | None = None
    state: str = ""
    taken: TakenBackup | None = None

    @property
    def safe(self) -> bool:
        return self.failed not in BACKUP_STEPS

    def line(self) -> str:
        """What succeeded."""
        if not self.taken:
            return f"*{self.source}*:"
        taken = self.taken
        size = f"{human_bytes(taken['content_bytes'])} stored as {human_bytes(taken['stored_bytes'])}"
        facts = [
            f"{taken['tables']} tables, {taken['rows']:,} rows",
            f"{size} in {human_seconds(taken['seconds'])}",
            *(f"verified in {name} ({depth})" for name, depth in taken["verified"].items()),
        ]
        return f"*{self.source}* `{taken['backup_id']}`: {'; '.join(facts)}."

    def problem(self) -> str:
        """What did not; only for an outcome with a failed step."""
        assert self.failed
        return f"`{self.failed}` {self.state}: {MEANING[self.failed]}"


def outcome(
    source: str, index: int, states: Mapping[str, str | None], results: Mapping[str, TakenBackup], *, offsite: bool
) -> Outcome:
    """states: by step and map index, as `verify_0`. results: by step. offsite: whether the source has a second copy."""
    wanted = [step for step in MEANING if offsite or "offsite" not in step]
    reached = {step: states.get(f"{step}_{index}") or "not started" for step in wanted}
    failed = next((step for step, state in reached.items() if state != "success"), None)
    good = [results[step] for step in wanted if reached[step] == "success" and step in results]
    return Outcome(source, failed, reached[failed].replace("_", " ") if failed else "", good[-1] if good else None)


def severity(outcomes: Sequence[Outcome]) -> Literal["high", "medium", "info"]:
    if not all(item.safe for item in outcomes):
        return "high"
    return "medium" if any(item.failed for item in outcomes) else "info"


def headline(outcomes: Sequence[Outcome]) -> str:
    """What is at risk, before all else."""
    unsafe = [item for item in outcomes if not item.safe]
    untidy = [item for item in outcomes if item.failed and item.safe]
    if unsafe:
        return f"{_count(unsafe, outcomes)} not safely backed up"
    if untidy:
        return (
            f"{_count(outcomes, outcomes)} backed up and verified, but old backups of {_names(untidy)} were not removed"
        )
    return f"{_count(outcomes, outcomes)} backed up and verified"


def _count(some: Sequence[Outcome], outcomes: Sequence[Outcome]) -> str:
    if len(some) == 1:
        return f"{some[0].source} is"
    if len(some) == len(outcomes):
        return f"All {len(some)} databases are"
    return f"{len(some)} of {len(outcomes)} databases are"


def _names(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(item.source for item in outcomes)
