"""The steps of every restore of a database: a copy is made on staging, or beside production, restored and proven."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import Context, XComArg

from backup_playbook.core.errors import GuardError, UnequalError, VerificationError
from backup_playbook.operators.base import HandoffOperator, run_of
from backup_playbook.operators.handoffs import Proven, Restoring
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.report import leave_facts

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest
    from backup_playbook.engines.contract import CopyOptions, ScratchHost, ScratchTarget
    from backup_playbook.repository.objects import BackupReader

Place = Literal["staging", "production"]
STAGING: Place = "staging"
"""A server of targets.yaml."""
PRODUCTION: Place = "production"
"""The server of the live database, beside it."""


class RestoreStep(HandoffOperator[Restoring]):
    """A step on the backup that was chosen. Returns its hand-off with what this step adds."""

    model = Restoring

    @contextmanager
    def reader(self) -> Iterator[BackupReader]:
        """Open the backup that was chosen. Raises as `Access.reader`."""
        chosen = self.handoff
        with self.access.reader(chosen.repository, chosen.backup_id, self.cancellation, chosen.seal) as reader:
            yield reader

    @contextmanager
    def noticing_damage(self, context: Context) -> Iterator[None]:
        """Leave what a failure says of the backup: it becomes evidence at the end of the run, not when a try fails."""
        from backup_playbook.core.model import EvidenceKind

        try:
            yield
        except VerificationError as error:
            kind = EvidenceKind.UNEQUAL if isinstance(error, UnequalError) else EvidenceKind.REJECTED
            leave_facts(context, damaged=kind.value)
            raise


class CopyStep(RestoreStep):
    """A step on the copy of a backup.

    :param place: STAGING or PRODUCTION: where the copy is.
    """

    def __init__(self, *, place: Place = STAGING, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.place = place

    def host(self) -> ScratchHost:
        """Return the server that the copy is on."""
        if self.place == PRODUCTION:
            return self.access.live().host
        return self.access.copy_server(self.handoff.target)

    def scratch(self, name: str = "", *, owner: str = "") -> ScratchTarget:
        """Return the copy of this run, or one of another name. Contacts nobody."""
        known = self.handoff
        name = name or known.scratch
        if self.place == PRODUCTION:
            return self.access.live().side_by_side(name, owner, known.leave_out)
        return self.access.copy_server(known.target).scratch(name, owner, self.options)

    @property
    def options(self) -> CopyOptions:
        """The choices for the copy."""
        from backup_playbook.engines.contract import CopyOptions

        return CopyOptions(self.handoff.only, self.handoff.leave_out, self.handoff.owners)


class CreateScratch(ChangesProduction, CopyStep):
    """Remove scratches that nobody uses any more, and make an empty one for this run.

    :param place: beside production, it needs the answer to a plan.
    :param try_owners: restore owners and grants too, where the server has the roles.
    """

    template_fields: Sequence[str] = ("given", "approval")

    def __init__(self, *, try_owners: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.try_owners = try_owners

    def is_asked_about(self, context: Context) -> bool:  # noqa: ARG002 - the base asks by context
        """Ask only beside production."""
        return self.place == PRODUCTION
