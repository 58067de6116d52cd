"""Content of a backup, as its manifest tells."""

from __future__ import annotations

from datetime import datetime

from backup_playbook.core.details import MomentDetails, TreeDetails
from backup_playbook.core.model import Manifest
from backup_playbook.core.words import counted as counted


def shares_contents(manifest: Manifest) -> bool:
    """Whether backups share contents, as those of files do: their objects only name the contents."""
    return bool(TreeDetails.of(manifest).current)


def shows_until(manifest: Manifest) -> datetime:
    """Moment after which nothing is in the backup.

    That is the time of its snapshot. Where each file or collection was read at a time of its own, it is the end.
    """
    of_one_moment = not shares_contents(manifest) and MomentDetails.of(manifest).of_one_moment
    return manifest.snapshot_at if of_one_moment else manifest.finished_at


def data_bytes(manifest: Manifest) -> int:
    """Size of the source's data, as it is at the source."""
    return TreeDetails.of(manifest).bytes if shares_contents(manifest) else manifest.content_bytes
