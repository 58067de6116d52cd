"""Recovery of single records, in the words that all engines share. The adapters call the engines.

`live.py` says which engines have it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows, State
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.document_import import import_documents, preview_documents, remaining_documents
from backup_playbook.engines.mongodb.document_search import (
    WantedDocuments,
    load_documents,
    require_collection,
    wanted_documents,
)
from backup_playbook.engines.mongodb.scratch import MongoScratch
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.row_import import import_rows, preview_rows, remaining_rows
from backup_playbook.engines.postgres.row_recovery import WantedRows, load_rows, wanted_rows
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.scratch import ScratchTarget
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation


class RecordRecovery(Protocol):
    """Records of a backup back into a live database. scratch: made of the backup, and empty until `load`."""

    def find(self, table: str, keys: Sequence[str], condition: str) -> Any:
        """What a form means. Raises RowRecoveryError when it means nothing."""
        ...

    def load(self, scratch: ScratchTarget, reader: BackupReader, wanted: Any) -> None:
        """Fill the scratch with what can be meant. Raises RowRecoveryError, and as `Target.restore`."""
        ...

    def preview(self, scratch: ScratchTarget, wanted: Any, on_conflict: OnConflict) -> Preview:
        """What an import would do."""
        ...

    def import_(
        self,
        scratch: ScratchTarget,
        wanted: Any,
        seen: Preview,
        on_conflict: OnConflict,
        keep_undo: Callable[[bytes], str],
    ) -> RecoveredRows:
        """Write what was seen; all of it or nothing. Raises RowRecoveryError when production has changed since."""
        ...

    def remaining(self, scratch: ScratchTarget, wanted: Any) -> dict[str, dict[State, int]]:
        """Records that were found, by table and by what they are in production now."""
        ...


class PostgresRecords:
    """server: leads to the live database, as the role that may write to it."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def find(self, table: str, keys: Sequence[str], condition: str) -> WantedRows:
        return wanted_rows(self._server, table, keys, condition)

    def load(self, scratch: ScratchTarget, reader: BackupReader, wanted: Any) -> None:
        assert isinstance(scratch, ScratchDatabase)
        load_rows(self._server, scratch, reader, wanted, Cancellation())

    def preview(self, scratch: ScratchTarget, wanted: Any, on_conflict: OnConflict) -> Preview:
        assert isinstance(scratch, ScratchDatabase)
        return preview_rows(self._server, scratch.server, on_conflict)

    def import_(
        self,
        scratch: ScratchTarget,
        wanted: Any,
        seen: Preview,
        on_conflict: OnConflict,
        keep_undo: Callable[[bytes], str],
    ) -> RecoveredRows:
        assert isinstance(scratch, ScratchDatabase)
        return import_rows(self._server, scratch.server, seen, on_conflict, fire_triggers=False, keep_undo=keep_undo)

    def remaining(self, scratch: ScratchTarget, wanted: Any) -> dict[str, dict[State, int]]:
        assert isinstance(scratch, ScratchDatabase)
        return remaining_rows(self._server, scratch.server)


class MongoRecords:
    """server: leads to the live database, as the user who may write to it."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server

    def find(self, table: str, keys: Sequence[str], condition: str) -> WantedDocuments:
        wanted = wanted_documents(table, keys, condition)
        require_collection(self._server, wanted.collection)
        return wanted

    def load(self, scratch: ScratchTarget, reader: BackupReader, wanted: Any) -> None:
        assert isinstance(scratch, MongoScratch)
        load_documents(scratch, reader, wanted, Cancellation())

    def preview(self, scratch: ScratchTarget, wanted: Any, on_conflict: OnConflict) -> Preview:
        assert isinstance(scratch, MongoScratch)
        return preview_documents(self._server, scratch, wanted)

    def import_(
        self,
        scratch: ScratchTarget,
        wanted: Any,
        seen: Preview,
        on_conflict: OnConflict,
        keep_undo: Callable[[bytes], str],
    ) -> RecoveredRows:
        assert isinstance(scratch, MongoScratch)
        return import_documents(self._server, scratch, wanted, seen, on_conflict, keep_undo)

    def remaining(self, scratch: ScratchTarget, wanted: Any) -> dict[str, dict[State, int]]:
        assert isinstance(scratch, MongoScratch)
        return {wanted.collection: remaining_documents(self._server, scratch, wanted)}
