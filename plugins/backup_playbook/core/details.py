"""Details of a manifest: facts of an engine about a source and a server.

On disk they are a plain dictionary that is sealed as it is; models read it. A field that not every release has written
has a default, and keys without a field are left alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from backup_playbook.core.errors import VerificationError

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest


class Details(BaseModel):
    """Facts that an engine may have written. copy_of: seal of the backup that this is a copy of; empty for none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    copy_of: str = ""

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Read the details of a manifest, once. Raises VerificationError when they lack something, or are not valid."""
        kept = manifest.details_read.get(cls)
        if kept is None or kept[0] is not manifest.details:  # of the manifest that this is a changed copy of
            kept = manifest.details_read[cls] = (manifest.details, cls._read(manifest))
        found = kept[1]
        assert isinstance(found, cls)
        return found

    @classmethod
    def _read(cls, manifest: Manifest) -> Self:
        try:
            return cls.model_validate(manifest.details)
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(map(str, first["loc"]))
            raise VerificationError(
                f"The details of {manifest.source} {manifest.backup_id} are not those of this release: {path}: "
                f"{first['msg']}.",
                "If another release wrote it, use that one, or start a new run. Else use another backup, or the "
                "off-site copy.",
            ) from None

    def written(self) -> dict[str, Any]:
        """Return the dictionary for a manifest: of the fields that were set, in the order of the model."""
        return self.model_dump(mode="json", exclude_unset=True)


class Example(BaseModel):
    """File with an unusual outcome, and why."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    outcome: str
    reason: str


class TreeDetails(Details):
    """Facts about a tree of files, whose backups share their contents.

    files, bytes: how many, and the sum of their sizes. folders: number of files by folder at the top. outcomes: number
    of files by what became of them, where that was unusual. unreadable: files that could not be read, with those in
    folders that could not. mounts_gone: folders that were file systems of their own. current: folder of the repository
    with the newest contents; empty for a backup that shares none. examples: the first files with an unusual outcome.
    """

    files: int | None = None
    bytes: int = 0
    folders: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    unreadable: int | None = None
    mounts_gone: tuple[str, ...] = ()
    current: str = ""
    examples: tuple[Example, ...] = ()


class MomentDetails(Details):
    """Facts about the moment that a backup shows. unsnapshotted: what was read at another one."""

    consistency: str = "snapshot"
    unsnapshotted: tuple[str, ...] = ()

    @property
    def of_one_moment(self) -> bool:
        """Whether everything was read as it was at one moment."""
        return self.consistency == "snapshot" and not self.unsnapshotted


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
