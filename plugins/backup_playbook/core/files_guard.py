"""Guard against a backup that follows a loss: so many files are gone that a person must look first.

A mount that is unreachable, a deployment gone wrong and ransomware all look like a tree whose files were deleted,
cannot be read, or have other contents.
"""

from __future__ import annotations

from dataclasses import dataclass

from backup_playbook.core.details import TreeDetails
from backup_playbook.core.model import Manifest
from backup_playbook.core.tree import Outcome

FEW = 10
"""Files that may go whatever share they are, unless they are all that there was."""
NEARLY_ALL = 0.9
"""Share of the files that may have another content unasked."""


@dataclass(frozen=True)
class DeleteLimits:
    """Share (0 to 1) and number of the files that may vanish, become empty or unreadable unasked."""

    share: float = 0.25
    number: int = 10_000


@dataclass(frozen=True)
class Losses:
    """Changes since the previous backup, in numbers of files.

    before: files in the previous backup. vanished: no longer there, and not renamed. emptied: shrunk to 0 bytes.
    unreadable: readable in the previous backup, or not seen there. changed: other contents, where that is not usual.
    now: files that are there.
    """

    before: int
    vanished: int
    emptied: int
    unreadable: int = 0
    changed: int = 0
    now: int = 0

    @property
    def lost(self) -> int:
        """Number of files whose content is gone."""
        return self.vanished + self.emptied + self.unreadable

    @property
    def files(self) -> int:
        """Number of files that the share counts against."""
        return max(self.before, self.now, self.lost) if self.unreadable else self.before


def reason_to_stop(losses: Losses, limits: DeleteLimits) -> str:
    """Sentence that says why a person must look; empty when nothing is wrong."""
    everything = losses.files > 0 and losses.lost >= losses.files
    too_many = losses.lost > limits.number
    too_large = losses.lost > limits.share * losses.files and (losses.lost > FEW or everything)
    if too_many or too_large:
        limit = f"{limits.share:.0%}" if too_large else f"{limits.number:,} files"
        unreadable = f", {losses.unreadable:,} cannot be read" if losses.unreadable else ""
        return (
            f"{losses.lost:,} of {losses.files:,} files ({losses.lost / max(losses.files, 1):.0%}) are lost since the "
            f"previous backup: {losses.vanished:,} vanished, {losses.emptied:,} shrank to nothing{unreadable}. The "
            f"guard allows {limit}."
        )
    if losses.changed > max(FEW, NEARLY_ALL * losses.before):
        return (
            f"{losses.changed:,} of {losses.before:,} files ({losses.changed / losses.before:.0%}) have another "
            "content than in the previous backup, which is not usual here: were they written anew, or did somebody "
            f"encrypt them? The guard allows {NEARLY_ALL:.0%}."
        )
    return ""


def warnings(manifest: Manifest) -> list[str]:
    """Sentences on a backup that a person should read, from its manifest's details, although it is good."""
    found = []
    tree = TreeDetails.of(manifest)
    unreadable = tree.outcomes.get(Outcome.UNREADABLE, 0) if tree.unreadable is None else tree.unreadable
    if unreadable:
        found.append(f"{unreadable:,} unreadable, of which it has at most what earlier backups stored")
    if tree.files == 0:
        found.append("it has no files: is the source mounted, and the right one?")
    if tree.mounts_gone:
        found.append(f"no file systems of their own any more: {', '.join(tree.mounts_gone)}")
    return found
