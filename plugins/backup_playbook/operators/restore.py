"""The steps of a restore test. What the first ones return is what all others take; the scratch belongs to the run.

Everything that needs boto3, psycopg or a provider is imported when a task runs: DAG files are parsed all the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from airflow.sdk import Context, XComArg

from backup_playbook.core.errors import GuardError, RestoreError, UnequalError, VerificationError
from backup_playbook.core.progress import human_age
from backup_playbook.operators.base import PlaybookOperator, SourceOperator, is_true

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest
    from backup_playbook.engines.contract import ScratchTarget
    from backup_playbook.engines.mongodb.scratch import MongoScratch
    from backup_playbook.engines.postgres.scratch import ScratchDatabase
    from backup_playbook.repository.objects import BackupReader

REPOSITORIES = ("alternate", "any", "primary", "offsite")
"""Where a test may read from; a form offers these, for the repositories' names differ from source to source. `any`: the
newest backup, of its copies the primary one first. `alternate`: month by month another one. With both, one that does
not answer, or has no good copy, is passed over, and the plan says so."""
ASKED = "asked"
"""XCom of ChooseBackup: how the form was understood, for people."""
DAMAGED = "damaged"
"""XCom of a step that failed because of the backup: the kind of evidence that says why (`rejected`, `unequal`)."""


class TestedBackup(TypedDict):
    """What goes from step to step. `started_at`: ISO 8601. `unverified`: nobody has checked it, and a person takes it
    nevertheless. `scratch`, `phases` (seconds) and `proof`: once known.

    taken_at: of its content, ISO 8601. origin: Manifest.origin_seal. remark: why it is not read from the repository
    that comes first, a sentence.

    target: in targets.yaml, when it is not that of the restore test. only: schemas and tables; empty or absent: all.
    leave_out: definitions that the copy goes without, as a person asked for. owners: the copy has owners and grants;
    owners_lack: why it has none, where they were to be tried.
    """

    source: str
    backup_id: str
    repository: str
    seal: str
    origin: str
    taken_at: str
    remark: str
    unverified: bool
    started_at: str
    scratch: str
    phases: dict[str, float]
    proof: dict[str, Any]
    target: NotRequired[str]
    only: NotRequired[list[str]]
    leave_out: NotRequired[list[str]]
    owners: NotRequired[bool]
    owners_lack: NotRequired[str]


class ChooseBackup(SourceOperator):
    """Find the backup that will be restored.

    backup: an id, or `latest`. before: ISO 8601 with an offset; `latest` then is the newest that was taken before it.
    repository: one of REPOSITORIES.
    allow_unverified: whether the id may be that of a backup that nobody has checked. Returns a `TestedBackup`.
    """

    template_fields: Sequence[str] = ("source", "backup", "before", "repository", "allow_unverified")
    takes_damaged = False
    """Whether `allow_unverified` also allows a rejected backup: what is taken from it is checked one by one."""

    def __init__(
        self,
        *,
        source: str,
        backup: str = "latest",
        before: str = "",
        repository: str = "alternate",
        allow_unverified: bool | str = False,
        **arguments: Any,
    ) -> None:
        super().__init__(source=source, **arguments)
        self.backup = backup
        self.before = before
        self.repository = repository
        self.allow_unverified = allow_unverified

    def execute(self, context: Context) -> TestedBackup:
        from backup_playbook.core.recovery_points import is_sound
        from backup_playbook.dag_parts import connections
        from backup_playbook.dag_parts.backup_choice import find_backup

        started = datetime.now(UTC)
        chosen = find_backup(
            self.config,
            self.source,
            self.order(started),
            self.backup,
            past_moment(self.before, started),
            now=started,
            allow_unverified=is_true(self.allow_unverified),
            allow_damaged=self.takes_damaged and is_true(self.allow_unverified),
        )
        manifest, engine = chosen.manifest, connections.engine(self.config, self.source)
        context["ti"].xcom_push(ASKED, asked_for(past_moment(self.before, started), manifest, started))
        self.log.info(
            "%s %s from %s: %s, taken %s. %s",
            self.source, manifest.backup_id, chosen.repository, engine.summary(manifest), manifest.snapshot_at,
            chosen.remark,
        )  # fmt: skip
        return TestedBackup(
            source=self.source,
            backup_id=manifest.backup_id,
            repository=chosen.repository,
            seal=manifest.seal,
            origin=manifest.origin_seal,
            taken_at=manifest.snapshot_at.isoformat(),
            remark=chosen.remark,
            unverified=not is_sound(chosen.entry, started),
            started_at=started.isoformat(),
            scratch="",
            phases={},
            proof={},
        )

    def order(self, now: datetime) -> list[list[str]]:
        """See dag_parts.restore_targets.reading_order."""
        from backup_playbook.dag_parts.restore_targets import reading_order

        return reading_order(self.config.source(self.source), self.source, self.repository, now)


def asked_for(before: datetime | None, manifest: Manifest, now: datetime) -> str:
    """How a form was understood, for the first line of its plan: a form converts time zones unseen."""
    shows = f"{manifest.backup_id}, of {manifest.snapshot_at:%Y-%m-%d %H:%M:%S} UTC"
    if before is None:
        return f"No time was given. The backup: {shows}, {human_age(now - manifest.snapshot_at)} ago."
    moment = before.astimezone(UTC)
    return (
        f"The time that was given: {moment:%Y-%m-%d %H:%M:%S} UTC, {human_age(now - moment)} ago. The backup: {shows}, "
        f"{human_age(moment - manifest.snapshot_at)} before that."
    )


def past_moment(text: str, now: datetime) -> datetime | None:
    """What a form's date-time means; None when it is empty. Raises RestoreError for nonsense and for the future."""
    if text in ("", "None"):  # a param that is null is rendered as text
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RestoreError(f"{text!r} is not a date and time.", "Write it like 2026-11-23T14:30:00+00:00.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > now:
        raise RestoreError(
            f"{moment:%Y-%m-%d %H:%M:%S %Z} is in the future.",
            "Give the time at which it happened, with its zone.",
        )
    return moment


class RestoreStep(PlaybookOperator):
    """A step on the backup that was chosen. Returns it with what this step adds."""

    template_fields: Sequence[str] = ("backup",)

    def __init__(self, *, backup: TestedBackup | XComArg, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.backup = backup

    @property
    def tested(self) -> TestedBackup:
        """An XComArg until the fields of a running task are rendered."""
        return cast("TestedBackup", self.backup)

    @property
    def source(self) -> str:  # type: ignore[override]
        # the name of a task in the grid is asked for also when no step before it has left anything
        return (self.tested or {}).get("source", "")

    @contextmanager
    def reader(self) -> Iterator[BackupReader]:
        """The backup, with the key where there is one. Raises GuardError for another one than was chosen."""
        from backup_playbook.dag_parts import connections
        from backup_playbook.dag_parts.repositories import naming_others
        from backup_playbook.engines.restore import open_backup

        name, engine = self.tested["repository"], connections.engine(self.config, self.source)
        with (
            naming_others(self.config, self.source, name, self.tested["backup_id"]),
            connections.codec(self.config, self.source, self.cancellation, decrypt=True) as codec,
        ):
            catalog = connections.catalog(self.config, name)
            reader = open_backup(catalog, engine, self.source, self.tested["backup_id"], codec)
            if reader.manifest.seal != self.tested["seal"]:
                # it is no damage: a repair brings back a manifest with the seal of the copy that it came from
                raise GuardError(
                    f"The manifest of {self.source} {self.tested['backup_id']} was exchanged since it was chosen.",
                    "Start a new run, if repair_backup has repaired it meanwhile. Else use another backup, or the "
                    "off-site copy, and find out who wrote to the bucket.",
                )
            yield reader

    def scratch(self, name: str = "", owner: str = "") -> ScratchTarget:
        """The scratch of this run, or another one of its server."""
        from backup_playbook.dag_parts.restore_targets import scratch_target

        return scratch_target(self.config, self.source, name or self.tested["scratch"], owner, **self._where())

    def postgres_scratch(self) -> ScratchDatabase:
        """The scratch of this run, for steps of what only Postgres can do."""
        from backup_playbook.dag_parts.restore_targets import scratch_database

        return scratch_database(self.config, self.source, self.tested["scratch"], **self._where())

    def mongo_scratch(self) -> MongoScratch:
        """The same of MongoDB."""
        from backup_playbook.engines.mongodb.scratch import MongoScratch

        scratch = self.scratch()
        assert isinstance(scratch, MongoScratch)  # the form offers no other sources
        return scratch

    def require_proof(self) -> None:
        """Raises GuardError for a copy that nobody has compared with its backup."""
        if not self.tested["proof"]:
            raise GuardError(
                f"The copy {self.tested['scratch']} was not proven equal to its backup.",
                "Nothing was touched. Clear the task `prove`.",
            )

    def _where(self) -> dict[str, Any]:
        known = self.tested
        return {
            "target": known.get("target", ""), "only": known.get("only", ()), "leave_out": known.get("leave_out", ()),
            "owners": known.get("owners", False),
        }  # fmt: skip

    @contextmanager
    def noticing_damage(self, context: Context) -> Iterator[None]:
        """A backup that turns out to be damaged, or of which the copy is not equal, gets its evidence at the end of the
        run, and not when a try fails."""
        from backup_playbook.core.model import EvidenceKind

        try:
            yield
        except VerificationError as error:
            kind = EvidenceKind.UNEQUAL if isinstance(error, UnequalError) else EvidenceKind.REJECTED
            context["ti"].xcom_push(DAMAGED, kind.value)
            raise


class CreateScratch(RestoreStep):
    """Make a database for this restore alone; first remove those of runs that ended without removing theirs.

    try_owners: restore with owners and grants where the target allows it, as a recovery does.
    """

    def __init__(self, *, try_owners: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.try_owners = try_owners

    def execute(self, context: Context) -> TestedBackup:
        owner = f"{context['ti'].dag_id}|{context['run_id']}|{self.source}"
        scratch = self.scratch(self.new_name(), owner)
        for found in scratch.host.list_scratches():
            if found.owner == owner or self._is_orphan(context, found.owner, found.created_at):
                self.log.info("Removing the scratch %s, which %s left.", found.name, found.owner or "a killed worker")
                scratch.host.drop(found.name)
        with self.noticing_damage(context), self.reader() as reader:
            if self.try_owners:
                self.backup = {**self.tested, **self._owners(scratch, reader)}
                scratch = self.scratch(scratch.name, owner)
            scratch.create(reader.manifest)
        return {**self.tested, "scratch": scratch.name}

    def _owners(self, scratch: ScratchTarget, reader: BackupReader) -> dict[str, Any]:
        from backup_playbook.engines.postgres.scratch import ScratchDatabase

        if not isinstance(scratch, ScratchDatabase):
            return {}
        lack = scratch.lacks_for_owners(reader)
        self.log.info("%s", f"Without owners and grants: {lack}" if lack else "With owners and grants.")
        return {"owners": not lack, "owners_lack": lack}

    def new_name(self) -> str:
        from backup_playbook.engines.scratch import scratch_name

        return scratch_name(self.source)

    def _is_orphan(self, context: Context, owner: str, created_at: datetime | None) -> bool:
        """Whether nobody uses it any more: its run has ended, or it is old and of a run that this Airflow never had."""
        active = is_active(context, owner)
        if active is None:
            grace = self.config.sweep.grace
            return created_at is None or datetime.now(UTC) - created_at > grace
        return not active


def begin_anew(context: Context, scratch: ScratchTarget, manifest: Manifest) -> None:
    """What an earlier try of this step has left is incomplete."""
    if context["ti"].try_number > 1:
        scratch.drop()
        scratch.create(manifest)


class RestoreBackup(RestoreStep):
    """Fill the scratch; adds the seconds of each phase."""

    def execute(self, context: Context) -> TestedBackup:
        scratch = self.scratch()
        with self.noticing_damage(context), self.reader() as reader:
            begin_anew(context, scratch, reader.manifest)
            phases = scratch.restore(reader, self.cancellation)
        took = {f"restore: {name}": seconds for name, seconds in phases.items()}
        return {**self.tested, "phases": {**self.tested["phases"], **took}}


class ProveRestore(RestoreStep):
    """Compare everything in the scratch with the backup; adds what was compared."""

    def execute(self, context: Context) -> TestedBackup:
        started = time.monotonic()
        with self.noticing_damage(context), self.reader() as reader:
            proof = self.scratch().prove(reader, self.cancellation)
        counts = {"tables": len(proof.tables), "schema_objects": proof.schema_objects}
        beside = {"left_out": list(proof.left_out), "recomputed": list(proof.recomputed)}
        phases = {**self.tested["phases"], "prove": time.monotonic() - started}
        return {**self.tested, "phases": phases, "proof": {**counts, **beside}}


def is_active(context: Context, owner: str) -> bool | None:
    """Whether the run that owns a scratch goes on; None for a run that this Airflow never had."""
    from airflow.sdk.exceptions import AirflowRuntimeError

    dag_id, _, rest = owner.partition("|")
    try:
        return context["ti"].get_dagrun_state(dag_id, rest.partition("|")[0]) in ("queued", "running")
    except AirflowRuntimeError:
        return None


class DropScratch(RestoreStep):
    """Remove the scratch with all that is in it."""

    def execute(self, context: Context) -> None:  # noqa: ARG002 - passed by name
        self.scratch().drop()
