"""The outcome of a nightly run for each source: pure, from the steps' states and results."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from airflow.sdk import BaseOperator

from backup_playbook.core.progress import human_seconds
from backup_playbook.operators.handoffs import Taken


@dataclass(frozen=True)
class Stage:
    """A step of a nightly run. means: what it means when it does not succeed.

    only_offsite: sources without off-site repositories go without it. unsafe: without it, the source could not be
    restored as promised.
    """

    task_id: str
    means: str
    only_offsite: bool = False
    unsafe: bool = True

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.task_id.rpartition(".")[2]


def stages_of(steps: Iterable[BaseOperator], prune: BaseOperator) -> tuple[Stage, ...]:
    """Return the stages of the steps that a DAG file names, in their order; prune: the last one."""
    found = [Stage(step.task_id, step.means, getattr(step, "only_offsite", False)) for step in steps]
    return (*found, Stage(prune.task_id, "old backups were not removed", unsafe=False))


@dataclass(frozen=True)
class Outcome:
    """One source. failed: its first stage without success. taken: what the last good one returned.

    error: what the failed one said.
    """

    source: str
    failed: Stage | None = None
    state: str = ""
    taken: Taken | None = None
    error: str = ""

    @property
    def safe(self) -> bool:
        """Whether the source can be restored as promised."""
        return not (self.failed and self.failed.unsafe)

    @property
    def warned(self) -> bool:
        """Whether its backup is good, and says what a person should look at."""
        return bool(self.taken and (self.taken.warned or self.taken.lost))

    def line(self) -> str:
        """Say what succeeded."""
        if not self.taken:
            return f"*{self.source}*:"
        facts = [
            f"{self.taken.summary} in {human_seconds(self.taken.seconds)}",
            *(f"verified in {name} ({depth})" for name, depth in self.taken.verified.items()),
        ]
        fewer = f" *Fewer than in the backup before:* {self.taken.lost}." if self.taken.lost else ""
        return f"*{self.source}* `{self.taken.backup_id}`: {'; '.join(facts)}.{fewer}"

    def problem(self) -> str:
        """Say what did not; only for an outcome with a failed stage."""
        assert self.failed
        return f"`{self.failed.label}` {self.state}: {self.failed.means}"

    def why(self) -> str:
        """Return a sentence or two; empty when nobody knows."""
        said = textwrap.shorten(self.error.partition("\nWhat to do:")[0], 300, placeholder=" ...")
        return f"{said.rstrip('.')}." if said else ""


def outcome(
    source: str,
    index: int,
    stages: Sequence[Stage],
    states: Mapping[str, str | None],
    results: Mapping[str, Taken],
    *,
    offsite: bool,
) -> Outcome:
    """Judge one source. states: by task id and map index, as `protect.verify_0`. results: by task id.

    offsite: whether the source has a second copy.
    """
    wanted = [stage for stage in stages if offsite or not stage.only_offsite]
    reached = {stage: states.get(f"{stage.task_id}_{index}") or "not started" for stage in wanted}
    failed = next((stage for stage, state in reached.items() if state != "success"), None)
    good = [results[stage.task_id] for stage in wanted if reached[stage] == "success" and stage.task_id in results]
    return Outcome(source, failed, reached[failed].replace("_", " ") if failed else "", good[-1] if good else None)


def severity(outcomes: Sequence[Outcome]) -> Literal["high", "medium", "info"]:
    """Return how grave the whole run is."""
    if not all(item.safe for item in outcomes):
        return "high"
    return "medium" if any(item.failed or item.warned for item in outcomes) else "info"


def headline(outcomes: Sequence[Outcome], kind: str = "databases") -> str:
    """Say what is at risk, before all else."""
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
