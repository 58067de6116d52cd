"""Records of a backup beside production, for engines whose records are put back one by one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backup_playbook.core.row_recovery import Conflict, OnConflict, Preview, PreviewRow, State, TablePreview
from backup_playbook.core.words import EngineWords, counted

ROWS_SHOWN = 20


@dataclass(frozen=True)
class Compared:
    """A record of the backup, and what production has in its place.

    key, values: shortened for people. then, now: its content in the backup and in production; None: no record has its
    key. taken: names of unique indexes by which another record of production is in its way.
    """

    key: str
    values: str
    then: bytes
    now: bytes | None
    taken: Sequence[str]

    @property
    def state(self) -> State:
        """State in production."""
        if self.now == self.then:
            return "equal"
        if self.taken:
            return "taken"
        return "missing" if self.now is None else "differs"

    def is_written(self, on_conflict: OnConflict) -> bool:
        """Whether an import writes it."""
        return self.state == "missing" or (self.state == "differs" and on_conflict == "overwrite")


def preview_of(table: str, compared: Sequence[Compared], asked: int, words: EngineWords) -> Preview:
    """Preview of an import. asked: number of keys in the form; 0: it has a condition."""
    digest = hashlib.sha256()
    for one in compared:
        digest.update(hashlib.sha256(one.then).digest())
        digest.update(hashlib.sha256(one.now if one.now is not None else b"").digest())
    # what is to be written comes first
    shown = sorted(compared, key=lambda one: one.state == "equal")[:ROWS_SHOWN]
    lost = asked - len(compared)
    return Preview(
        tables=(
            TablePreview(
                table=table,
                counts=dict(Counter(one.state for one in compared)),
                rows=tuple(PreviewRow(key=one.key, state=one.state, values=one.values) for one in shown),
            ),
        ),
        conflicts=tuple(_conflicts(table, compared, words.row)),
        remarks=(f"{lost} of {asked} keys are not in the backup.",) if lost > 0 else (),
        fingerprint=digest.hexdigest(),
        words=words,
    )


def _conflicts(table: str, compared: Sequence[Compared], noun: str) -> Iterator[Conflict]:
    if differing := [one.key for one in compared if one.state == "differs"]:
        yield Conflict(
            table=table,
            kind="key reused",
            what=f"{counted(len(differing), noun)} with other values now.",
            rows=tuple(differing[:ROWS_SHOWN]),
            choices="`skip` leaves them as they are; `overwrite` replaces them by those of the backup.",
            solved_by=("skip", "overwrite"),
        )
    if taken := [one for one in compared if one.state == "taken"]:
        indexes = ", ".join(sorted({name for one in taken for name in one.taken}))
        yield Conflict(
            table=table,
            kind="unique value taken",
            what=f"Another {noun} has now a value that is unique ({indexes}) of {counted(len(taken), noun)}.",
            rows=tuple(one.key for one in taken[:ROWS_SHOWN]),
            choices=f"`skip` leaves these out; or change the other {noun} first.",
            solved_by=("skip",),
        )
