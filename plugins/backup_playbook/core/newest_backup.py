"""Checks of the newest backup beside those before it: its size, its keys, its losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from backup_playbook.core.losses import Counts, counts_of, losses, losses_in_words
from backup_playbook.core.model import EncryptionRecord, Manifest
from backup_playbook.core.progress import human_bytes

FindingSeverity = Literal["critical", "high", "medium"]

SIZES_NEEDED = 7
"""Sizes that make a spread."""
SIZE_SPREADS = 5
"""Standard deviations (estimated from the median absolute deviation) beyond which a size is unusual, when it is ..."""
SIZE_TOLERANCE = 0.3
"""... and not within this share of the median: a database that hardly changes has hardly a spread."""
DEVIATIONS = 1.4826
"""Standard deviation of normally distributed values / their median absolute deviation."""


@dataclass(frozen=True)
class Problem:
    """A finding without its meaning for the source."""

    check: str
    severity: FindingSeverity
    what: str
    remedy: str
    blinding: bool = False


def size_problems(newest: Manifest, least: int, sizes: Sequence[int]) -> Iterator[Problem]:
    """Problems with the size of the newest backup.

    least: expected minimum. sizes: those of the backups before it. All are stored bytes.
    """
    size = newest.stored_bytes
    remedy = "Compare the tables of the last two manifests. If the change is right, adapt minimum_size in sources.yaml."
    if size < least:
        yield Problem(
            "minimum_size", "medium",
            f"{newest.backup_id} is stored in {human_bytes(size)}, less than the minimum of {human_bytes(least)}.",
            remedy,
        )  # fmt: skip
    elif len(sizes) >= SIZES_NEEDED:
        usual = median(sizes)
        spread = DEVIATIONS * median(abs(one - usual) for one in sizes)
        if abs(size - usual) > max(SIZE_SPREADS * spread, SIZE_TOLERANCE * usual):
            yield Problem(
                "unusual_size", "medium",
                f"{newest.backup_id} is stored in {human_bytes(size)}, where {human_bytes(usual)} is usual (median of "
                f"the last {len(sizes)}).",
                "Compare the tables of the last two manifests. If the change is right, this ends when it is the usual.",
            )  # fmt: skip


def encryption_problems(expected: EncryptionRecord, newest: Manifest, back_up: str) -> Iterator[Problem]:
    """Problems when a backup is not encrypted as configured. back_up: DAG that takes another one."""
    found = newest.encryption
    remedy = f"Run {back_up}: a backup is encrypted as configured when it is taken. Then remove this one."
    if found.method == "none" and expected.method != "none":
        yield Problem(
            "encryption", "high", f"{newest.backup_id} is not encrypted, where {expected.method} is configured.", remedy
        )
    elif (found.method, set(found.recipients)) != (expected.method, set(expected.recipients)):
        yield Problem(
            "encryption", "medium",
            f"{newest.backup_id} is encrypted as {_keys(found)}, where {_keys(expected)} is configured.",
            remedy,
        )  # fmt: skip


def _keys(record: EncryptionRecord) -> str:
    return f"{record.method} {', '.join(record.recipients)}".rstrip()


def loss_problems(previous: Manifest, newest: Manifest, history: Sequence[Counts]) -> Iterator[Problem]:
    """Problems with losses, each loss in one only: a table that is gone is not among those that have fewer rows."""
    found = losses(counts_of(newest), [counts_of(previous), *history])
    remedy = (
        f"Ask whether it was meant (a migration, a clean-up). If not, restore it from {previous.backup_id}, and hold "
        "that backup."
    )
    gone, fewer = [one for one in found if one.after is None], [one for one in found if one.after is not None]
    for check, what, some in (("tables", "Gone", gone), ("rows", "Fewer", fewer)):
        if some:
            yield Problem(check, "medium", f"{what} since {previous.backup_id}: {losses_in_words(some)}.", remedy)
