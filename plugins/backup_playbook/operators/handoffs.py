"""Hand-offs from task to task: frozen models, one for each kind of run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.row_recovery import Preview


class HandoffError(PlaybookError):
    """The hand-off of an earlier step cannot be read."""


class Handoff(BaseModel):
    """The base of all hand-offs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str

    @classmethod
    def read(cls, given: Any) -> Self:
        """Return what an earlier step left. Raises HandoffError."""
        if given is None:
            raise HandoffError("The step before this one has left nothing.", "Clear the first red task of this run.")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            wrong = sorted({str(one["loc"][0]) if one["loc"] else "its shape" for one in error.errors()})
            raise HandoffError(
                f"The steps before this one were run by another version of the playbook: {', '.join(wrong)} of what "
                "they left cannot be read. Nothing was touched.",
                "Start a new run. This one cannot go on after the upgrade.",
            ) from error

    def as_json(self) -> dict[str, Any]:
        """Return it as Airflow keeps it."""
        return self.model_dump(mode="json")

    def adding(self, **fields: Any) -> dict[str, Any]:
        """Return it with these fields, as Airflow keeps it."""
        return type(self).model_validate({**dict(self), **fields}).as_json()


class Taken(Handoff):
    """A backup that was taken. Sizes in bytes; seconds: of the dump.

    verified: depth by repository. summary: how much is in it, in the words of its engine. lost: what has fewer rows, or
    files, than in the backup before. warned: it says what a person should look at.
    """

    backup_id: str
    seal: str
    tables: int
    rows: int
    content_bytes: int
    stored_bytes: int
    encryption: str
    seconds: float
    summary: str
    verified: dict[str, str] = {}
    lost: str = ""
    warned: bool = False


class Scanned(Handoff):
    """A tree that was compared with its previous backup. started: seconds since the epoch.

    stop: why a person must look before anything is deleted; empty when nobody must. in_short: how many paths are
    treated how. gone: the first that are no longer there, or cannot be read.
    """

    backup_id: str
    started: float
    stop: str
    in_short: str
    gone: tuple[str, ...]


class Proven(BaseModel):
    """A copy that was compared with its backup, and is equal. left_out, recomputed: what `equal` does not cover."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: int
    schema_objects: int
    left_out: tuple[str, ...] = ()
    recomputed: tuple[str, ...] = ()


class Exchanged(BaseModel):
    """An exchange of production that was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promoted_at: datetime
    unreachable_seconds: float
    sessions_ended: int


class Replacing(BaseModel):
    """The exchange of production that a copy is made for. live_id: the engine's own mark, of engines.live_database.

    quarantine: what production will be called. candidate_id: of the proven copy, and exchanged: once there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    live: str
    live_id: str
    quarantine: str
    planned_at: datetime
    candidate_id: str = ""
    exchanged: Exchanged | None = None


class Restoring(Handoff):
    """A backup that was chosen, and what becomes of it. seal: of its manifest; origin: Manifest.origin_seal.

    taken_at: of its content. remark: why it is not read from the first repository, a sentence. unverified: nobody has
    checked it, and a person takes it nevertheless. phases: seconds by step.

    target: of targets.yaml; empty: that of the source's restore test. scratch, made_by (its run), proof: of the copy,
    once there. kept: the name under which it stays; empty: it does not. only: schemas and tables whose rows it has;
    empty: all. leave_out: definitions that it goes without, as a person asked for. tables: whose rows it has.
    left_out: what it does not get, in words. owners: it has owners and grants; owners_lack: why it has none, where they
    were to be tried.

    replacing: the exchange of production; None where production stays as it is. preview: of records that come back into
    it, without their values.
    """

    backup_id: str
    repository: str
    seal: str
    origin: str
    taken_at: datetime
    remark: str
    unverified: bool
    started_at: datetime
    phases: dict[str, float] = {}
    target: str = ""
    scratch: str = ""
    made_by: str = ""
    kept: str = ""
    only: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    owners: bool = False
    owners_lack: str = ""
    proof: Proven | None = None
    replacing: Replacing | None = None
    preview: Preview | None = None

    def with_phase(self, name: str, seconds: float) -> dict[str, float]:
        """Return the phases with one more."""
        return {**self.phases, name: round(seconds, 2)}


class ReplacedDatabase(Handoff):
    """A quarantine, and what has its name now. next_quarantine: what that becomes when they are exchanged."""

    started_at: datetime
    quarantine: str
    quarantine_id: str
    comment: str | None
    live: str
    live_id: str
    next_quarantine: str


class Damaged(Handoff):
    """A damaged backup, and the repository that has a sound copy. damaged, sound: repositories.

    seal: of the sound copy. names: what is damaged. shared: backups share contents, which are then all sent anew.
    """

    backup_id: str
    damaged: str
    sound: str
    seal: str
    names: tuple[str, ...]
    shared: bool


class Assessment(Handoff):
    """The health of a source. findings: core.health.Finding as dictionaries. accepted: a person's word was taken."""

    in_short: str
    findings: tuple[dict[str, Any], ...]
    accepted: bool = False
