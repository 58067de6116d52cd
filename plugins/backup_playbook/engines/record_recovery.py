"""The contract of engines that find single records in a backup and put them back into production."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows
from backup_playbook.core.row_recovery import State as RecordState
from backup_playbook.engines.contract import ScratchTarget
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation


@dataclass(frozen=True)
class WantedRecords:
    """The records that a form asks for. table: or collection. keys, or a condition in the engine's own language.

    children: also dependent records. fire_triggers: when they are written. An engine without these ignores them.
    """

    table: str
    keys: Sequence[str] = ()
    condition: str = ""
    children: bool = True
    fire_triggers: bool = False


class RecordRecovery(Protocol):
    """Records of a backup, put back into production; bound to one `WantedRecords`. Making one contacts nobody.

    undo_suffix: of the file that `keep_undo` stores.
    """

    undo_suffix: str

    def understand(self) -> str:
        """Ask production whether there can be such records. Returns how the form was understood, for the log.

        Raises RowRecoveryError for what makes no sense.
        """
        ...

    def describe(self) -> tuple[str, str, str]:
        """Return what is meant (Markdown), how it is written, and the condition as it was understood (or empty).

        May ask production; raises as `understand`.
        """
        ...

    def load(self, scratch: ScratchTarget, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        """Load into the empty scratch what can be meant; return the seconds of each phase. Raises as Target.restore."""
        ...

    def preview(self, scratch: ScratchTarget, on_conflict: OnConflict) -> Preview:
        """Compare what was found with production, which stays as it is."""
        ...

    def import_records(
        self, scratch: ScratchTarget, seen: Preview, on_conflict: OnConflict, keep_undo: Callable[[bytes], str]
    ) -> RecoveredRows:
        """Write what `seen` shows, all or nothing. keep_undo: stores what takes it back, and tells where.

        Raises RowRecoveryError when production has changed since, or conflicts remain; RestoreError, SourceError.
        """
        ...

    def remaining(self, scratch: ScratchTarget) -> Mapping[str, Mapping[RecordState, int]]:
        """Count the found records by table and by what they are in production now."""
        ...
