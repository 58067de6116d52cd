"""Evidence: small immutable documents beside a manifest that say what became of its backup, a model for each kind.

Writers say all that a model has. Readers take what is there: earlier releases left some of it out, and people write
evidence manually. What every document says of itself (`at`, `source`, ...) comes from `Catalog.add_evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backup_playbook.core.model import EvidenceKind


class Evidence(BaseModel):
    """Body of a document. Fields that a document on disk may lack are None then; writers have to name them."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)
    kind: ClassVar[EvidenceKind]

    def body(self) -> dict[str, Any]:
        """Return the body as JSON has it."""
        return self.model_dump(mode="json")

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self | None:
        """Read a document; None when it says less than any release has written, or something else."""
        names = [field.alias or name for name, field in cls.model_fields.items()]
        try:
            return cls.model_validate({name: document.get(name) for name in names})
        except ValidationError:
            return None


class Verified(Evidence):
    """Stored bytes that were read, and are as the manifest says.

    depth: how closely a verification looked. content_bytes: None when nothing was opened. origin_seal: seal of the
    backup that this is a copy of; not in the evidence of the first releases.
    """

    kind = EvidenceKind.VERIFIED
    depth: str | None
    manifest_seal: str | None
    origin_seal: str | None
    objects: int | None
    stored_bytes: int | None
    content_bytes: int | None
    tables: int | None
    rows: int | None


class _Finding(Evidence):
    depth: str | None
    """`restore` when no verification has found it."""
    what: str
    problems: tuple[str, ...] | None
    """First problems, a sentence each."""
    repository: str | None = Field(alias="from")
    """Repository that was read."""


class Rejected(_Finding):
    """Stored bytes that are not as the manifest says."""

    kind = EvidenceKind.REJECTED


class Unequal(_Finding):
    """Restored copy that was not equal, although what was read of the backup was right."""

    kind = EvidenceKind.UNEQUAL


class Restored(Evidence):
    """Restored copy that was proven equal: by a restore test, a restore, a recovery, or a restore of files.

    report: address of its report; None when it wrote none. seconds: by phase, `restore` and `prove`. rto_seconds: from
    the start of the run to the proof. target: where the copy was. repository: that was read. paths: number of files,
    folders and links that were compared, of a tree of files. run: id of the run.
    """

    kind = EvidenceKind.RESTORED
    report: str | None
    seconds: dict[str, float]
    rto_seconds: float | None
    content_bytes: int | None
    """Size of the data, as it is at the source. None in documents of the first restores of files."""
    target: str | None
    repository: str | None = Field(alias="from")
    paths: int | None
    run: str | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self | None:
        """Read a document. The first restores of files told the size of their lists, or none, and no RTO."""
        found = super().read(document)
        if found and found.rto_seconds is None:
            return found.model_copy(update={"content_bytes": None})
        return found


class _Word(Evidence):
    reason: str | None
    by: str | None
    run_id: str | None


class Accepted(_Word):
    """Word of a person that a backup is good although a copy was not equal."""

    kind = EvidenceKind.ACCEPTED


class Held(Evidence):
    """Hold: retention keeps the backup until somebody releases it. run_id: None in copies of a hold."""

    kind = EvidenceKind.HELD
    reason: str | None
    run_id: str | None


class Released(_Word):
    """End of a hold."""

    kind = EvidenceKind.RELEASED


class Copied(Evidence):
    """Copy in another repository. to: its address. new: whether it was made now, and not there already."""

    kind = EvidenceKind.COPIED
    to: str | None
    new: bool | None


class Tiered(Evidence):
    """Tier in which retention keeps a backup."""

    kind = EvidenceKind.TIERED
    tier: str | None


MODELS: Final[Mapping[EvidenceKind, type[Evidence]]] = {
    one.kind: one for one in (Verified, Rejected, Restored, Unequal, Accepted, Held, Released, Copied, Tiered)
}
