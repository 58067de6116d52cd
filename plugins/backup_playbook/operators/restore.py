"""The steps of every restore of a database: a copy is made on staging, or beside production, restored and proven."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import Context

from backup_playbook.core.errors import GuardError, UnequalError, VerificationError
from backup_playbook.operators.base import HandoffOperator, run_of
from backup_playbook.operators.handoffs import Proven, Restoring
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.report import leave_facts

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest
    from backup_playbook.engines.contract import CopyOptions, ScratchHost, ScratchTarget
    from backup_playbook.engines.scratch import Scratch
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

    def scratch(self) -> ScratchTarget:
        """Return the copy of this run, made already or not. Contacts nobody."""
        known = self.handoff
        if self.place == PRODUCTION:
            return self.access.live().side_by_side(known.scratch, known.made_by, known.leave_out)
        return self.access.copy_server(known.target).scratch(known.scratch, known.made_by, self.options)

    def new_name(self) -> str:
        """Return a name for a new copy."""
        from backup_playbook.engines.scratch import scratch_name

        if self.place == PRODUCTION:
            return scratch_name(self.source)
        return self.access.copy_server(self.handoff.target).new_name(self.source, self.handoff.kept)

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

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the copy; return the hand-off with its name, its server and who made it."""
        from backup_playbook.operators.planning import refuse_a_second_recovery

        owner = f"{run_of(context)}|{self.source}"
        if self.place == STAGING:
            self.add(target=self.handoff.target or self.access.restore_test_target())
        host = self.host()
        if self.place == PRODUCTION:  # again: another one may have been approved meanwhile
            refuse_a_second_recovery(host, self.source, context)
        for found in host.list_scratches():
            if found.owner == owner or is_orphan(context, found, self.config.sweep.grace):
                self.log.info("Removing the scratch %s, which %s left.", found.name, found.owner or "a killed worker")
                host.drop(found.name)
        self.add(scratch=self.new_name(), made_by=owner)
        with self.noticing_damage(context), self.reader() as reader:
            if self.try_owners:
                lack = self.scratch().lacks_for_owners(reader)
                self.log.info("%s", f"Without owners and grants: {lack}" if lack else "With owners and grants.")
                self.add(owners=not lack, owners_lack=lack)
            self.scratch().create(reader.manifest)
        return self.handoff.as_json()


class RestoreScratch(CopyStep):
    """Fill the copy; add the seconds of each phase."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Restore the backup; return the hand-off with its phases."""
        scratch = self.scratch()
        with self.noticing_damage(context), self.reader() as reader:
            begin_anew(context, scratch, reader.manifest)
            phases = scratch.restore(reader, self.cancellation)
        took = {f"restore: {name}": seconds for name, seconds in phases.items()}
        return self.handoff.adding(phases={**self.handoff.phases, **took})


class ProveScratch(CopyStep):
    """Compare everything in the copy with the backup; add what was compared, and which database it was."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Prove the copy; return the hand-off with the proof."""
        started, known, scratch = time.monotonic(), self.handoff, self.scratch()
        with self.noticing_damage(context), self.reader() as reader:
            proof = scratch.prove(reader, self.cancellation)
        proven = Proven(
            tables=len(proof.tables),
            schema_objects=proof.schema_objects,
            left_out=proof.left_out,
            recomputed=proof.recomputed,
        )
        replacing = known.replacing and known.replacing.model_copy(update={"candidate_id": scratch.identify()})
        phases = known.with_phase("prove", time.monotonic() - started)
        return known.adding(phases=phases, proof=proven, replacing=replacing)


class KeepCopy(CopyStep):
    """Give the proven copy its name: it is no scratch any more. Can be repeated."""

    carries = False

    def execute(self, context: Context) -> str:  # noqa: ARG002 - passed by name
        """Keep the copy; return its name."""
        require_proof(self.handoff)
        self.scratch().keep(self.handoff.kept)
        return self.handoff.kept


class DropScratch(CopyStep):
    """Remove the copy, unless it was kept; a promoted one has another name, and is not touched."""

    carries = False

    def execute(self, context: Context) -> None:  # noqa: ARG002 - passed by name
        """Drop the copy."""
        scratch, kept = self.scratch(), self.handoff.kept
        if kept and scratch.is_kept(kept):
            self.log.info("%s stays.", kept)
            return
        scratch.drop()


def begin_anew(context: Context, scratch: ScratchTarget, manifest: Manifest) -> None:
    """Make the copy anew, when an earlier try of this step has left an incomplete one."""
    if context["ti"].try_number > 1:
        scratch.drop()
        scratch.create(manifest)


def require_proof(known: Restoring) -> None:
    """Raise GuardError for a copy that nobody has compared with its backup."""
    if not known.proof:
        raise GuardError(
            f"The copy {known.scratch} was not proven equal to its backup.",
            "Nothing was touched. Clear the task that proves it.",
        )


def is_orphan(context: Context, found: Scratch, grace: timedelta) -> bool:
    """Say whether nobody uses a scratch any more: its run has ended, or it is old and of no run of this Airflow."""
    active = is_active(context, found.owner)
    if active is None:
        return found.created_at is None or datetime.now(UTC) - found.created_at > grace
    return not active


def is_active(context: Context, owner: str) -> bool | None:
    """Say whether the run that owns a scratch goes on; None for a run that this Airflow never had."""
    from airflow.sdk.exceptions import AirflowRuntimeError

    dag_id, _, rest = owner.partition("|")
    try:
        return context["ti"].get_dagrun_state(dag_id, rest.partition("|")[0]) in ("queued", "running")
    except AirflowRuntimeError:
        return None
