"""Whether so many files are gone that a person must look before the backup follows.

A mount that is away, a deployment gone wrong and ransomware all look like a tree whose files were deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

FEW = 10
"""So few may go whatever share they are, unless they are all that there was."""


@dataclass(frozen=True)
class DeleteLimits:
    """More than this share (0 to 1) or this number of the files may not vanish or become empty unasked."""

    share: float = 0.25
    number: int = 10_000


@dataclass(frozen=True)
class Losses:
    """before: files in the previous backup. vanished: no longer there, and not renamed. emptied: shrunk to 0 bytes."""

    before: int
    vanished: int
    emptied: int

    @property
    def lost(self) -> int:
        return self.vanished + self.emptied


def reason_to_stop(losses: Losses, limits: DeleteLimits) -> str:
    """A sentence; empty when nothing is wrong."""
    everything = losses.before > 0 and losses.lost >= losses.before
    too_many = losses.lost > limits.number
    too_large = losses.lost > limits.share * losses.before and (losses.lost > FEW or everything)
    if not (too_many or too_large):
        return ""
    limit = f"{limits.share:.0%}" if too_large else f"{limits.number:,} files"
    return (
        f"{losses.lost:,} of {losses.before:,} files ({losses.lost / losses.before:.0%}) are lost since the previous "
        f"backup: {losses.vanished:,} vanished, {losses.emptied:,} shrank to nothing. The guard allows {limit}."
    )
