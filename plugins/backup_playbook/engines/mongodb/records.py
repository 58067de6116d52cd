"""Documents of a MongoDB backup, put back into production: what the scenario calls, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from backup_playbook.core.markdown import cell
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows
from backup_playbook.core.row_recovery import State as RecordState
from backup_playbook.engines.contract import ScratchTarget
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.document_import import import_documents, preview_documents, remaining_documents
from backup_playbook.engines.mongodb.document_search import (
    WantedDocuments,
    load_documents,
    require_collection,
    wanted_documents,
)
from backup_playbook.engines.mongodb.scratch import MongoScratch
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

_HOW = (
    "They are written one by one, each only where production is as shown here; what takes them back is stored in the "
    "repository before the first. Documents that are equal are not touched."
)


@dataclass(frozen=True)
class MongoRecords:
    """See `engines.record_recovery.RecordRecovery`. live: production, as the user who may write to it."""

    live: MongoServer
    wanted: WantedRecords

    undo_suffix = ".json"

    def understand(self) -> str:
        """Ask production whether there can be such records; return a sentence. Raises RowRecoveryError."""
        require_collection(self.live, self._documents.collection)
        ids = len(self._documents.ids)
        return f"Documents of {self._documents.collection}, {f'{ids} by their ids' if ids else 'by a query'}."

    def describe(self) -> tuple[str, str, str]:
        """Return the records in Markdown, how they are written, and the condition."""
        return f"Documents of **{cell(self._documents.collection)}**", _HOW, ""

    def load(self, scratch: ScratchTarget, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        """Load into the scratch what can be meant; return the seconds of each phase."""
        return load_documents(_own(scratch), reader, self._documents, cancellation)

    def preview(self, scratch: ScratchTarget, on_conflict: OnConflict) -> Preview:  # noqa: ARG002 - of the contract
        """Compare what was found with production. It shows what each answer to `on_conflict` would do."""
        return preview_documents(self.live, _own(scratch), self._documents)

    def import_records(
        self, scratch: ScratchTarget, seen: Preview, on_conflict: OnConflict, keep_undo: Callable[[bytes], str]
    ) -> RecoveredRows:
        """Write what the preview showed. Raises RowRecoveryError, RestoreError, SourceError."""
        return import_documents(self.live, _own(scratch), self._documents, seen, on_conflict, keep_undo)

    def remaining(self, scratch: ScratchTarget) -> dict[str, dict[RecordState, int]]:
        """Count the found records by table and by what they are in production now."""
        return {self._documents.collection: remaining_documents(self.live, _own(scratch), self._documents)}

    @cached_property
    def _documents(self) -> WantedDocuments:
        return wanted_documents(self.wanted.table, self.wanted.keys, self.wanted.condition)


def _own(scratch: ScratchTarget) -> MongoScratch:
    assert isinstance(scratch, MongoScratch)  # no other engine makes scratches of this source
    return scratch


if TYPE_CHECKING:
    _records: type[RecordRecovery] = MongoRecords
