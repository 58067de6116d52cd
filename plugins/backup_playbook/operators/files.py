"""The steps of a backup of files. What one returns is what the next takes.

Everything that needs boto3 or a provider is imported when a task runs: DAG files are parsed all the time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast

from airflow.sdk import Context, XComArg

from backup_playbook.core.errors import GuardError
from backup_playbook.operators.backup import CopyOffsite, TakenBackup, hold_backup, taken_backup
from backup_playbook.operators.base import PlaybookOperator, SourceOperator, is_true
from backup_playbook.operators.retention import ApplyRetention

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest
    from backup_playbook.repository.catalog import Catalog


class ScannedFiles(TypedDict):
    """What goes from step to step. stop: why a person must look before anything is deleted; empty when nobody must.

    in_short: how many paths are to be treated how. gone: the first that are no longer there, or
    cannot be read.
    """

    source: str
    backup_id: str
    started: float
    stop: str
    in_short: str
    gone: list[str]


class ScanFiles(SourceOperator):
    """Compare the tree with that of the previous backup, and leave what is to be done. Returns `ScannedFiles`."""

    def execute(self, context: Context) -> ScannedFiles:  # noqa: ARG002 - passed by name
        from backup_playbook.core.files_guard import reason_to_stop
        from backup_playbook.core.naming import new_backup_id
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.files.plan import Action
        from backup_playbook.engines.files.source import losses
        from backup_playbook.engines.files.steps import SCANNED, leave
        from backup_playbook.repository.objects import BackupWriter

        started = time.time()
        source = connections.files_source(self.config, self.source)
        store = connections.catalog(self.config, self.config.source(self.source).repository).store
        with connections.codec(self.config, self.source, self.cancellation) as codec:
            writer = BackupWriter(store, self.source, new_backup_id(datetime.now(UTC)), codec)
            draft = source.scan(writer, self.cancellation)
        leave(store, SCANNED, draft)
        plan = draft.details["plan"]
        return ScannedFiles(
            source=self.source,
            backup_id=writer.backup_id,
            started=started,
            stop=reason_to_stop(losses(draft), source.options.limits),
            in_short=", ".join(f"{word} {plan[word]:,}" for word in map(str, Action) if word in plan),
            gone=draft.details["gone"],
        )


class FilesStep(PlaybookOperator):
    """A step on what `scan` returned."""

    template_fields: Sequence[str] = ("scanned",)

    def __init__(self, *, scanned: ScannedFiles | XComArg, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.scanned = scanned

    @property
    def found(self) -> ScannedFiles:
        """An XComArg until the fields of a running task are rendered."""
        return cast("ScannedFiles", self.scanned)

    @property
    def source(self) -> str:  # type: ignore[override]
        return self.found["source"]


class SyncFiles(FilesStep):
    """Send what is new, copy what was renamed, and mark what is gone as deleted. Returns what it got.

    guard: what the guard returned about the same scan; without it nothing is done.
    """

    template_fields: Sequence[str] = ("scanned", "guard")

    def __init__(self, *, guard: Any = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.guard = guard

    def pre_execute(self, context: Context) -> None:
        from backup_playbook.dag_parts.approval import MARK, mark_of

        super().pre_execute(context)
        if not self.guard or self.guard.get(MARK) != mark_of(self.found):
            raise GuardError(
                f"The task `guard` has not agreed to what this run would do to {self.source}: it has no answer, or one "
                "to another scan. Nothing was sent or deleted.",
                "Start a new run for this source.",
            )

    def execute(self, context: Context) -> ScannedFiles:  # noqa: ARG002 - passed by name
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.files.steps import SCANNED, SYNCED, leave, take
        from backup_playbook.repository.objects import BackupWriter

        store = connections.catalog(self.config, self.config.source(self.source).repository).store
        draft = take(store, SCANNED, self.source, self.found["backup_id"])
        with connections.codec(self.config, self.source, self.cancellation) as codec:
            writer = BackupWriter(store, self.source, self.found["backup_id"], codec)
            source = connections.files_source(self.config, self.source)
            leave(store, SYNCED, source.sync(writer, draft, self.cancellation))
        return self.found


class SealFiles(FilesStep):
    """Write the manifest: from now on the backup exists. hold, reason: as for databases. Returns a `TakenBackup`."""

    template_fields: Sequence[str] = ("scanned", "hold", "reason")

    def __init__(self, *, hold: bool | str = False, reason: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.hold = hold
        self.reason = reason

    def execute(self, context: Context) -> TakenBackup:
        from backup_playbook.core.files_guard import warnings
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.files.steps import in_words, seal

        catalog = connections.catalog(self.config, self.config.source(self.source).repository)
        manifest = seal(catalog.store, self.source, self.found["backup_id"])
        for example in manifest.details["examples"]:
            self.log.warning("%s: %s: %s", example["path"], example["outcome"], example["reason"])
        if is_true(self.hold):
            hold_backup(catalog, manifest, self.reason, context)
        taken = taken_backup(
            manifest,
            time.time() - self.found["started"],
            tables=0,
            rows=0,
            content_bytes=manifest.details["bytes"],
            summary=in_words(manifest),
        )
        return {**taken, "warned": bool(warnings(manifest.details))}


class CopyFilesOffsite(CopyOffsite):
    """Bring the current state of each off-site repository to a verified backup, and seal a copy of it there."""

    def send(self, origin: Catalog, target: Catalog, manifest: Manifest) -> bool:
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.files.copies import copy_files
        from backup_playbook.repository.objects import BackupReader

        options = connections.files_options(connections.files_settings(self.config, self.source))
        with connections.codec(self.config, self.source, self.cancellation) as codec:
            return copy_files(BackupReader(origin.store, manifest, codec), target, options, self.cancellation)


class ApplyFilesRetention(ApplyRetention):
    """Remove backups that retention no longer keeps, then the versions of files that no backup names any more."""

    def prune(self, repository: str) -> dict[str, Any]:
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.files.retention import remove_unnamed

        done = super().prune(repository)
        if is_true(self.dry_run):
            return done
        catalog = connections.catalog(self.config, repository)
        removed = remove_unnamed(catalog, self.source, self.config.sweep.grace, datetime.now(UTC))
        return {**done, "versions": removed.versions}
