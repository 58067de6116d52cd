"""What became of each source in one run, and how that is told: pure, from the steps' states and results."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from backup_playbook.core.progress import human_seconds
from backup_playbook.operators.backup import TakenBackup

MEANING = {
    "dump_compress_upload": "there is no new backup",
    "verify": "the new backup is not verified",
    "copy_offsite": "there is no off-site copy",
    "verify_offsite": "the off-site copy is not verified",
    "prune": "old backups were not removed",
}
"""The steps of one source in their order, and what it means when one does not succeed."""
FILES_MEANING = {**dict.fromkeys(("scan", "guard", "sync", "seal"), MEANING["dump_compress_upload"]), **MEANING}
del FILES_MEANING["dump_compress_upload"]
STEPS = {"databases": MEANING, "file trees": FILES_MEANING}
"""By what kind of sources a run is about."""


@dataclass(frozen=True)
class Outcome:
    """One source. `failed`: its first step without success. `taken`: what the last good step returned.

    error: what the failed step said.
    """

    source: str
    failed: str | None = None
    state: str = ""
    taken: TakenBackup | None = None
    error: str = ""

    @property
    def safe(self) -> bool:
        """Without any other step, the source could not be restored as promised."""
        return self.failed in (None, "prune")

    @property
    def warned(self) -> bool:
        """Whether its backup is good, and says what a person should look at."""
        return bool(self.taken and (self.taken.get("warned") or self.taken.get("lost")))

    def line(self) -> str:
        """What succeeded."""
        if not self.taken:
            return f"*{self.source}*:"
        facts = [
            f"{self.taken['summary']} in {human_seconds(self.taken['seconds'])}",
            *(f"verified in {name} ({depth})" for name, depth in self.taken["verified"].items()),
        ]
        lost = self.taken.get("lost")
        fewer = f" *Fewer than in the backup before:* {lost}." if lost else ""
        return f"*{self.source}* `{self.taken['backup_id']}`: {'; '.join(facts)}.{fewer}"

    def problem(self) -> str:
        """What did not; only for an outcome with a failed step."""
        assert self.failed
        return f"`{self.failed}` {self.state}: {(FILES_MEANING | MEANING)[self.failed]}"

    def why(self) -> str:
        """A sentence or two; empty when nobody knows."""
        said = textwrap.shorten(self.error.partition("\nWhat to do:")[0], 300, placeholder=" ...")
        return f"{said.rstrip('.')}." if said else ""


def outcome(
    source: str,
    index: int,
    states: Mapping[str, str | None],
    results: Mapping[str, TakenBackup],
    *,
    offsite: bool,
    kind: str = "databases",
) -> Outcome:
    """states: by step and map index, as `verify_0`. results: by step. offsite: whether the source has a second copy."""
    wanted = [step for step in STEPS[kind] if offsite or "offsite" not in step]
    reached = {step: states.get(f"{step}_{index}") or "not started" for step in wanted}
    failed = next((step for step, state in reached.items() if state != "success"), None)
    good = [results[step] for step in wanted if reached[step] == "success" and step in results]
    return Outcome(source, failed, reached[failed].replace("_", " ") if failed else "", good[-1] if good else None)


def severity(outcomes: Sequence[Outcome]) -> Literal["high", "medium", "info"]:
    if not all(item.safe for item in outcomes):
        return "high"
    return "medium" if any(item.failed or item.warned for item in outcomes) else "info"


def headline(outcomes: Sequence[Outcome], kind: str = "databases") -> str:
    """What is at risk, before all else."""
    unsafe = [item for item in outcomes if not item.safe]
    untidy = [item for item in outcomes if item.failed and item.safe]
    if unsafe:
        return f"{_count(unsafe, outcomes, kind)} not safely backed up"
    if untidy:
        all_ = f"{_count(outcomes, outcomes, kind)} backed up and verified"
        return f"{all_}, but old backups of {_names(untidy)} were not removed"
    warned = [item for item in outcomes if item.warned]
    look = f"; look at what it says of {_names(warned)}" if warned else ""
    return f"{_count(outcomes, outcomes, kind)} backed up and verified{look}"


def _count(some: Sequence[Outcome], outcomes: Sequence[Outcome], kind: str) -> str:
    if len(some) == 1:
        return f"{some[0].source} is"
    if len(some) == len(outcomes):
        return f"All {len(some)} {kind} are"
    return f"{len(some)} of {len(outcomes)} {kind} are"


def _names(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(item.source for item in outcomes)
