"""The steps of a restore of files: choose, plan, restore, prove."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.errors import RestoreError, VerificationError
from backup_playbook.core.markdown import cell
from backup_playbook.core.progress import human_age
from backup_playbook.forms.files import IN_PLACE
from backup_playbook.operators.approval import leave_plan
from backup_playbook.operators.base import is_true, texts
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.files import FilesOperator
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.report import leave_facts
from backup_playbook.operators.restore import RestoreStep

if TYPE_CHECKING:
    from backup_playbook.engines.destination import Destination

NAMED = 10


class ChooseFilesBackup(FilesOperator, ChooseBackup):
    """Find the backup that will be restored. Returns a `Restoring`.

    :param path: what will be restored of it.
    :param version: of one file; it stands for the newest backup that has the file in this version.
    """

    template_fields: Sequence[str] = (*ChooseBackup.template_fields, "path", "version")
    takes_damaged = True
    found_in = ""

    def __init__(self, *, path: str = "", version: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.path = path
        self.version = version

    def execute(self, context: Context) -> dict[str, Any]:
        """Choose the backup."""
        if self.version:
            if not self.path or self.path.endswith("/"):
                raise RestoreError("A version is of one file, and no file is named.", "Give its path with the version.")
            order = list(chain.from_iterable(self.order(datetime.now(UTC))))
            self.found_in, self.backup = self.access.backup_with(order, self.path, self.version)
            self.before = ""
        return super().execute(context)

    def order(self, now: datetime) -> list[list[str]]:
        """Return the repositories to read from; the one that has the version alone, where one is asked for."""
        return [[self.found_in]] if self.found_in else super().order(now)


class FilesRestoreStep(FilesOperator, RestoreStep):
    """A step that knows which files go where. Returns its hand-off with what this step adds.

    :param destination: NEW_DIRECTORY or IN_PLACE.
    :param target: of targets.yaml, where a new directory is made.
    :param path: a file, a folder, or empty for everything.
    :param leave_out: paths that a person can do without.
    :param overwrite_newer: in place, also replace files that were written after the backup.
    """

    template_fields: Sequence[str] = ("given", "destination", "target", "path", "leave_out", "overwrite_newer")

    def __init__(
        self,
        *,
        destination: str,
        target: str = "",
        path: str = "",
        leave_out: Sequence[str] | str = (),
        overwrite_newer: bool | str = False,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.destination = destination
        self.target = target
        self.path = path
        self.leave_out = leave_out
        self.overwrite_newer = overwrite_newer

    def place(self) -> Destination:
        """Return the destination. Raises as `FilesAccess.in_place` and `FilesAccess.new_place`."""
        without = texts(self.leave_out)
        if self.destination == IN_PLACE:
            return self.access.in_place(self.path, without, overwrite_newer=is_true(self.overwrite_newer))
        known = self.handoff
        name = f"{known.source}_{known.backup_id}_{known.started_at:%H%M%S%f}"
        return self.access.new_place(self.target, name, self.path, without)


class PlanFilesRestore(FilesRestoreStep):
    """Look at what will come back, and leave the plan for people."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Leave the plan; return the hand-off."""
        place, known = self.place(), self.handoff
        with self.reader() as reader:
            plan = place.plan(reader, self.cancellation)
        in_short = f"{self.path or 'everything'}, as of {known.taken_at:%Y-%m-%d %H:%M} UTC: {plan.in_short}"
        unsound = "It is not known to be sound: what is damaged does not come back, and is named."
        shows = [
            f"The backup {known.backup_id} is {human_age(datetime.now(UTC) - known.taken_at)} old.",
            *([unsound] if known.unverified else []),
            *([known.remark] if known.remark else []),
        ]
        shown = "\n".join([f"**{cell(in_short)}**", "", " ".join(shows), *plan.lines])
        self.log.info("%s", shown)
        leave_plan(context, shown, in_short)
        leave_facts(context, planned=in_short)
        return known.as_json()


class RestoreFiles(ChangesProduction, FilesRestoreStep):
    """Bring the files back. What somebody wrote meanwhile is not lost: see FilesRestore."""

    template_fields: Sequence[str] = (*FilesRestoreStep.template_fields, "approval")

    def is_asked_about(self, context: Context) -> bool:  # noqa: ARG002 - the base asks by context
        """Ask only in place."""
        return self.destination == IN_PLACE

    def execute(self, context: Context) -> dict[str, Any]:
        """Restore the files; return the hand-off with its phases."""
        from backup_playbook.core.model import EvidenceKind

        started, place, damaged = time.monotonic(), self.place(), ""
        counts: Counter[str] = Counter()
        try:
            with self.reader() as reader:
                place.restore(reader, self.cancellation, counts)
        except VerificationError:
            damaged = EvidenceKind.REJECTED.value
            raise
        finally:
            # of a restore that is not complete, too: all that can be there is there
            self.log.info("Restored into %s: %s", place.address, dict(counts))
            leave_facts(context, root=place.address, restored=dict(counts), damaged=damaged)
        return self.handoff.adding(phases={"restore": round(time.monotonic() - started, 2)})


class ProveFiles(FilesRestoreStep):
    """Compare every content and attribute with the backup. A whole backup in a new directory is proven by it."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare; return the hand-off with its phases."""
        started, place = time.monotonic(), self.place()
        if self.destination == IN_PLACE:  # somebody works there: a difference is no finding
            with self.reader() as reader:
                found = place.prove(reader, self.cancellation)
        else:
            with self.noticing_damage(context), self.reader() as reader:
                found = place.prove(reader, self.cancellation)
        some = ", ".join(found.missing[:NAMED]) + (" ..." if len(found.missing) > NAMED else "")
        remarks = [f"Not in the copy ({len(found.missing):,}): {some}"] if found.missing else []
        leave_facts(context, compared=found.counts, whole=found.whole, remarks=remarks)
        return self.handoff.adding(phases=self.handoff.with_phase("prove", time.monotonic() - started))
