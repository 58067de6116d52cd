"""The steps and the ending of a recovery of deleted records: rows or documents, as the source has them.

Who approves sees records, by their keys and values. Logs, reports and messages go to more people, and have numbers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.markdown import cell
from backup_playbook.core.masking import HIDDEN
from backup_playbook.core.report import Report, Table
from backup_playbook.core.row_recovery import Preview, RecoveredRows, State, not_restored
from backup_playbook.core.words import counted
from backup_playbook.operators.approval import leave_plan
from backup_playbook.operators.base import PlaybookOperator, is_true, texts
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.handoffs import Restoring
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.recovery_report import recovery_evidence
from backup_playbook.operators.report import Ended, Ending, leave_facts
from backup_playbook.operators.restore import CopyStep, begin_anew

if TYPE_CHECKING:
    from backup_playbook.connections.base import Access
    from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords

WANTED = ("table", "keys", "condition", "children", "fire_triggers", "on_conflict")
"""Arguments of a RecordStep."""


class RecordStep(PlaybookOperator):
    """A step on the records that a form asks for.

    To be named before the other steps among the bases, with WANTED in `template_fields`.

    :param table: where they were: a table or a collection.
    :param keys: their keys.
    :param condition: instead of keys, in the engine's own language.
    :param children: also dependent rows, where the engine knows them.
    :param fire_triggers: let triggers fire when the records are written, where there are any.
    :param on_conflict: `stop`, `skip` or `overwrite`, for what stands in the way.
    """

    def __init__(
        self,
        *,
        table: str,
        keys: Sequence[str] | str = (),
        condition: str = "",
        children: bool | str = True,
        fire_triggers: bool | str = False,
        on_conflict: str = "stop",
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.table = table
        self.keys = keys
        self.condition = condition
        self.children = children
        self.fire_triggers = fire_triggers
        self.on_conflict: Any = on_conflict

    @cached_property
    def records(self) -> RecordRecovery:
        """The recovery of these records. Raises ConfigError."""
        return self.access.records(self.wanted)

    @property
    def wanted(self) -> WantedRecords:
        """The records that are asked for."""
        from backup_playbook.engines.record_recovery import WantedRecords

        children, fire_triggers = is_true(self.children), is_true(self.fire_triggers)
        return WantedRecords(self.table, texts(self.keys), self.condition, children, fire_triggers)


class ChooseRecordsBackup(RecordStep, ChooseBackup):
    """Ask production first whether there can be such records."""

    template_fields: Sequence[str] = (*ChooseBackup.template_fields, *WANTED)

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, then choose the backup."""
        leave_facts(context, wanted=without_values(self.wanted), on_conflict=self.on_conflict)
        self.log.info("%s", self.records.understand())
        return super().execute(context)


class FindRecords(RecordStep, CopyStep):
    """Load into the scratch what can be meant, and compare it with production. Leaves the plan for the approval.

    Fails when conflicts remain that `on_conflict` does not solve.
    """

    template_fields: Sequence[str] = ("given", *WANTED)

    def execute(self, context: Context) -> dict[str, Any]:
        """Find them; return the hand-off with what was found."""
        started, known, scratch = time.monotonic(), self.handoff, self.scratch()
        with self.noticing_damage(context), self.reader() as reader:
            begin_anew(context, scratch, reader.manifest)
            phases = self.records.load(scratch, reader, self.cancellation)
        preview = self.records.preview(scratch, self.on_conflict)
        numbers = preview.without_rows()
        self.log.info("%s", numbers.to_markdown(self.on_conflict))
        preview.require_clear(self.on_conflict)
        warning = "**UNVERIFIED: nobody has checked this backup.** " if known.unverified else ""
        warning += f"{known.remark} " if known.remark else ""
        what, how, condition = self.records.describe()
        plan = (
            f"{warning}{what}, as they were at {known.taken_at:%Y-%m-%d %H:%M:%S} UTC, from `{known.backup_id}` in "
            f"{known.repository}. {how}\n\n"
        )
        plan += f"Those that in the backup met {cell(condition)}.\n\n" if condition else ""
        plan += preview.to_markdown(self.on_conflict)
        leave_plan(context, plan, warning + preview.in_short(self.on_conflict), behind=preview.fingerprint)
        leave_facts(context, planned_at=datetime.now(UTC).isoformat())
        took = {f"find: {name}": seconds for name, seconds in phases.items()}
        took["find"] = round(time.monotonic() - started, 2)
        return known.adding(phases={**known.phases, **took}, preview=numbers)


class ImportRecords(ChangesProduction, RecordStep, CopyStep):
    """Write what was approved; what takes it back is stored before."""

    carries = False
    template_fields: Sequence[str] = ("given", "approval", *WANTED)

    def __init__(self, **arguments: Any) -> None:
        # a second try would find that all is there, and would know of no undo
        super().__init__(**{"retries": 0, **arguments})

    def execute(self, context: Context) -> dict[str, Any]:
        """Write them; return how many, by table, and where the undo is."""
        preview = self.handoff.preview
        assert preview
        leave_facts(context, importing=True)

        def keep_undo(content: bytes) -> str:
            address = self.keep_undo(content)
            leave_facts(context, importing=True, undo=address)  # for a worker that dies after the commit
            return address

        recovered = self.records.import_records(self.scratch(), preview, self.on_conflict, keep_undo)
        self.log.info(
            "Inserted %s, overwritten %s; undo: %s", recovered.inserted, recovered.overwritten, recovered.undo
        )
        done = recovered.model_dump(mode="json")
        leave_facts(context, importing=True, recovered=done)
        return done

    def keep_undo(self, content: bytes) -> str:
        """Store it beside the reports; encrypted where the backups are, for it holds what was overwritten.

        Returns where. Raises RepositoryError when no repository takes it.
        """
        known = self.handoff
        name = f"{kind_of(self.access)}-{known.started_at:%Y%m%dT%H%M%SZ}-undo{self.records.undo_suffix}"
        key = f"reports/{self.source}/{name}"
        with self.access.codec(self.cancellation) as codec:
            if codec.keyring is not None:
                key, content = key + codec.suffix, b"".join(codec.encode([content]))
        return f"{self.access.backups.keep(known.repository, {key: content})}/{key}"


class VerifyRecords(RecordStep, CopyStep):
    """Look at production again, in a session of its own: nothing may be missing that was to come back."""

    carries = False
    template_fields: Sequence[str] = ("given", *WANTED)

    def execute(self, context: Context) -> dict[str, dict[str, int]]:
        """Count them by table and by what they are now. Raises VerificationError when some are missing."""
        remaining = self.records.remaining(self.scratch()).items()
        found = {table: {str(state): number for state, number in counts.items()} for table, counts in remaining}
        self.log.info("%s of the backup in production now: %s", kind_of(self.access).capitalize(), found)
        leave_facts(context, verified=found)
        if missing := {table: counts["missing"] for table, counts in found.items() if counts.get("missing")}:
            raise VerificationError(
                f"What was imported is missing again: {missing}.",
                "Find out who deletes it (an application, a trigger, a job); then start this recovery again.",
            )
        return found


class DocumentRecords(Ending):
    """End a recovery of records: its report, evidence of damage, and the message.

    :param steps: the steps of the recovery, in the order in which they can fail.
    """

    def describe(self, known: Restoring | None, end: Ended, now: datetime) -> dict[str, Any]:  # noqa: ARG002
        """Return what the report says."""
        recovered = RecoveredRows.model_validate(end.facts["recovered"]) if "recovered" in end.facts else None
        undo = recovered.undo if recovered else end.facts.get("undo", "")
        planned = end.facts.get("planned_at")
        waited = end.waited(datetime.fromisoformat(planned)) if planned else timedelta()
        return {
            "kind": kind_of(self.access),
            "headline": headline_of(self.access, end, recovered),
            "in_short": " ".join(filter(None, (end.problem, written(end, recovered)))),
            "took": recovered.finished_at - known.started_at - waited if recovered and known else None,
            "tables": shown(known.preview) if known and known.preview else (),
            "remarks": (known.remark,) if known and known.remark else (),
            "undo": f"fetch {undo} and {self.access.engine.words.undo_records}." if undo else "",
        }

    def write_evidence(self, known: Restoring, end: Ended, report: Report, address: str) -> list[str]:
        """Write that the backup is damaged."""
        return recovery_evidence(self.access, known, end, report, address)


def kind_of(access: Access) -> str:
    """Return what records of a source are called: `rows`, `documents`."""
    return f"{access.engine.words.row}s"


def without_values(wanted: WantedRecords) -> dict[str, Any]:
    """Return what was asked for, without what may name people: keys and conditions are in the run itself."""
    asked = asdict(wanted)
    return asked | {name: HIDDEN for name in ("keys", "condition") if asked[name]}


def headline_of(access: Access, end: Ended, recovered: RecoveredRows | None) -> str:
    """Say how it ended."""
    run = f"Recovery of {kind_of(access)} of {access.name}"
    if end.failed:
        return f"{run} failed at {end.failed}"
    if end.rejected_by:
        return f"{run} was rejected by {end.rejected_by}; nothing was touched"
    if recovered is None:
        return f"{run} has written nothing"
    number = sum((*recovered.inserted.values(), *recovered.overwritten.values()))
    without = f", without {not_restored(recovered.cut)}" if recovered.cut else ""
    return f"Back in {access.name}: {counted(number, access.engine.words.row)}{without}"


def written(end: Ended, recovered: RecoveredRows | None) -> str:
    """Say what was written to production; nothing where an import has failed, which says it itself."""
    if recovered is None:
        return "" if end.facts.get("importing") else "Nothing was written to production."
    counts = ", ".join(f"{count:,} of {name}" for name, count in recovered.inserted.items())
    return f"Inserted: {counts or 'none'}; overwritten: {sum(recovered.overwritten.values()):,}."


def shown(preview: Preview) -> tuple[Table, ...]:
    """Return what the plan said, in numbers."""
    states: tuple[State, ...] = ("missing", "differs", "equal", "taken")
    found = [(one.table, *(f"{one.counts.get(state, 0):,}" for state in states)) for one in preview.tables]
    conflicts = [(one.table, one.kind, one.what, one.choices) for one in preview.conflicts]
    tables = (
        Table(title="In production before the import", head=(preview.words.table, *states), rows=tuple(found)),
        Table(title="Conflicts", head=(preview.words.table, "conflict", "what", "choices"), rows=tuple(conflicts)),
        Table(title="Remarks", head=("remark",), rows=tuple((remark,) for remark in preview.remarks)),
    )
    return tuple(table for table in tables if table.rows)
