"""Content of a backup, as its manifest tells."""

from __future__ import annotations

from datetime import datetime

from backup_playbook.core.model import Manifest
from backup_playbook.core.words import counted as counted


def shares_contents(manifest: Manifest) -> bool:
    """Whether backups share contents, as those of files do: their objects only name the contents."""
    return "current" in manifest.details


def shows_until(manifest: Manifest) -> datetime:
    """Moment after which nothing is in the backup.

    That is the time of its snapshot. Where each file or collection was read at a time of its own, it is the end.
    """
    details = manifest.details
    one_moment = details.get("consistency", "snapshot") == "snapshot" and not details.get("unsnapshotted")
    return manifest.snapshot_at if one_moment and not shares_contents(manifest) else manifest.finished_at


def data_bytes(manifest: Manifest) -> int:
    """Size of the source's data, as it is at the source."""
    return int(manifest.details["bytes"]) if shares_contents(manifest) else manifest.content_bytes
