"""Rows of a Postgres backup, put back into production: what the scenario calls, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from backup_playbook.core.markdown import cell
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows
from backup_playbook.core.row_recovery import State as RecordState
from backup_playbook.engines.contract import ScratchTarget
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.row_import import import_rows, preview_rows, remaining_rows
from backup_playbook.engines.postgres.row_recovery import WantedRows, load_rows, wanted_rows
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

_HOW = (
    "One transaction writes them; a script that takes them back is stored in the repository before it is committed. "
    "Rows that are equal are not touched."
)


@dataclass(frozen=True)
class PostgresRecords:
    """See `engines.record_recovery.RecordRecovery`. live: production, as the role that may write to it."""

    live: PostgresServer
    wanted: WantedRecords

    undo_suffix = ".sql"

    def understand(self) -> str:
        """Ask production whether there can be such records; return a sentence. Raises RowRecoveryError."""
        tables = ", ".join(sorted({".".join(link.child) for link in self._rows.links}))
        return f"Rows of {self._rows.table.label}; deletions go on to: {tables or 'nothing'}."

    def describe(self) -> tuple[str, str, str]:
        """Return the records in Markdown, how they are written, and the condition."""
        condition = self._rows.selection.condition
        dependent = " and dependent rows" if self.wanted.children else ""
        return f"Rows of **{cell(self._rows.table.label)}**{dependent}", _HOW, condition.sql if condition else ""

    def load(self, scratch: ScratchTarget, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        """Load into the scratch what can be meant; return the seconds of each phase."""
        phases = load_rows(self.live, _own(scratch), reader, self._rows, cancellation)
        return {name: seconds for name, seconds in phases.items() if name != "post_data"}

    def preview(self, scratch: ScratchTarget, on_conflict: OnConflict) -> Preview:
        """Compare what was found with production."""
        return preview_rows(self.live, _own(scratch).server, on_conflict)

    def import_records(
        self, scratch: ScratchTarget, seen: Preview, on_conflict: OnConflict, keep_undo: Callable[[bytes], str]
    ) -> RecoveredRows:
        """Write what the preview showed. Raises RowRecoveryError, RestoreError, SourceError."""
        return import_rows(
            self.live,
            _own(scratch).server,
            seen,
            on_conflict,
            fire_triggers=self.wanted.fire_triggers,
            keep_undo=keep_undo,
        )

    def remaining(self, scratch: ScratchTarget) -> dict[str, dict[RecordState, int]]:
        """Count the found records by table and by what they are in production now."""
        return remaining_rows(self.live, _own(scratch).server)

    @cached_property
    def _rows(self) -> WantedRows:
        """Ask production how it understands the form."""
        wanted = self.wanted
        return wanted_rows(self.live, wanted.table, wanted.keys, wanted.condition, children=wanted.children)


def _own(scratch: ScratchTarget) -> ScratchDatabase:
    assert isinstance(scratch, ScratchDatabase)  # no other engine makes scratches of this source
    return scratch


if TYPE_CHECKING:
    _records: type[RecordRecovery] = PostgresRecords
