"""The steps of a backup of files: scan, sync, seal. The guard between them is in delete_guard."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Context

from backup_playbook.core.errors import GuardError
from backup_playbook.operators.approval import MARK, mark_of
from backup_playbook.operators.backup import hold_backup
from backup_playbook.operators.base import HandoffOperator, PlaybookOperator, SourceOperator, is_true
from backup_playbook.operators.handoffs import Scanned, Taken

if TYPE_CHECKING:
    from backup_playbook.connections.files import FilesAccess

NO_BACKUP = "there is no new backup"


class FilesOperator(PlaybookOperator):
    """A step for a source of files. To be named first among the bases."""

    @cached_property
    def access(self) -> FilesAccess:
        """The access to the source. Raises ConfigError when it is of another engine."""
        from backup_playbook.connections.files import FilesAccess

        return FilesAccess(self.config, self.source)


class ScanFiles(FilesOperator, SourceOperator):
    """Compare the tree with that of the previous backup, and leave what is to be done. Returns a `Scanned`."""

    means: ClassVar[str] = NO_BACKUP

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        """Scan the tree."""
        from backup_playbook.core.naming import new_backup_id

        started, backup_id = time.time(), new_backup_id(datetime.now(UTC))
        found = self.access.scan(backup_id, self.cancellation)
        return Scanned(source=self.source, backup_id=backup_id, started=started, **found._asdict()).as_json()


class SyncFiles(FilesOperator, HandoffOperator[Scanned]):
    """Send what is new, copy what was renamed, and mark what is gone as deleted. Returns the scan.

    :param guard: what the guard returned about the same scan; without it nothing is done.
    """

    means: ClassVar[str] = NO_BACKUP
    carries = False  # there is no backup yet
    template_fields: Sequence[str] = ("given", "guard")
    model = Scanned

    def __init__(self, *, guard: Any = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.guard = guard

    def pre_execute(self, context: Context) -> None:
        """Raise GuardError unless the guard has agreed to this scan."""
        super().pre_execute(context)
        if not self.guard or self.guard.get(MARK) != mark_of(self.handoff.as_json()):
            raise GuardError(
                f"The task `guard` has not agreed to what this run would do to {self.source}: it has no answer, or one "
                "to another scan. Nothing was sent or deleted.",
                "Start a new run for this source.",
            )

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        """Bring the current state to what was scanned."""
        self.access.sync(self.handoff.backup_id, self.cancellation)
        return self.handoff.as_json()


class SealFiles(FilesOperator, HandoffOperator[Scanned]):
    """Write the manifest: from now on the backup exists. Returns a `Taken`.

    :param hold: keep the backup until someone releases it.
    :param reason: the note of the hold.
    """

    means: ClassVar[str] = NO_BACKUP
    template_fields: Sequence[str] = ("given", "hold", "reason")
    model = Scanned

    def __init__(self, *, hold: bool | str = False, reason: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.hold = hold
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        """Seal the backup."""
        from backup_playbook.core.details import TreeDetails, data_bytes
        from backup_playbook.core.files_guard import warnings

        manifest, summary = self.access.seal(self.handoff.backup_id)
        for example in TreeDetails.of(manifest).examples:
            self.log.warning("%s: %s: %s", example.path, example.outcome, example.reason)
        if is_true(self.hold):
            hold_backup(self.access.catalog(), manifest, self.reason, context)
        return Taken(
            source=self.source,
            backup_id=manifest.backup_id,
            seal=manifest.seal,
            tables=0,
            rows=0,
            content_bytes=data_bytes(manifest),
            stored_bytes=manifest.stored_bytes,
            encryption=manifest.encryption.method,
            seconds=round(time.time() - self.handoff.started, 1),
            summary=summary,
            warned=bool(warnings(manifest)),
        ).as_json()


class ListFileVersions(FilesOperator, SourceOperator):
    """List the versions of a file, or of all files that are, or were, in a folder. Returns them as dictionaries.

    :param path: the file, or a folder with a slash at its end.
    :param repository: one of forms.fields.REPOSITORIES.
    """

    template_fields: Sequence[str] = ("source", "path", "repository")

    def __init__(self, *, path: str, repository: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.path = path
        self.repository = repository

    def execute(self, context: Context) -> list[dict[str, Any]]:  # noqa: ARG002 - passed by name
        """Log the versions, and return them."""
        order = self.access.reading_order(self.repository, datetime.now(UTC))
        name, found = self.access.versions(list(chain.from_iterable(order)), self.path)
        lines = [
            f"{one.stored_at:%Y-%m-%d %H:%M:%S}  {'deleted' if one.deleted else f'{one.bytes:,} B':>16}  "
            f"{one.version}  {one.path}{'  (current)' if one.current and not one.deleted else ''}"
            for one in found
        ]
        self.log.info("%d versions in %s, UTC:\n%s", len(found), name, "\n".join(lines))
        return [{**one._asdict(), "stored_at": one.stored_at.isoformat()} for one in found]
