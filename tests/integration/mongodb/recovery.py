"""What the tests of recovered documents share."""

from backup_playbook.core.model import Manifest
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.document_import import import_documents, preview_documents
from backup_playbook.engines.mongodb.document_search import load_documents, wanted_documents
from backup_playbook.engines.mongodb.document_undo import undo
from backup_playbook.streams.processes import Cancellation
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import contents, scratch_of, server_of
from tests.integration.postgres.lab import Lab


class Recovery:
    """A recovery from one backup, step by step. live: leads to the database, if not directly."""

    def __init__(self, lab: Lab, database: MongoDatabase, manifest: Manifest, live: MongoServer | None = None) -> None:
        self.lab, self.database, self.manifest = lab, database, manifest
        self.live, self.scratch = live or server_of(database), scratch_of(database)
        self.undo = b""

    def find(self, *ids: str, query: str = "") -> Preview:
        self.scratch.drop()
        self.scratch.create(self.manifest)
        self.wanted = wanted_documents("people", ids, query)
        load_documents(self.scratch, self.lab.reader(self.manifest), self.wanted, Cancellation())
        return preview_documents(self.live, self.scratch, self.wanted)

    def bring_back(self, preview: Preview, on_conflict: OnConflict = "stop") -> RecoveredRows:
        return import_documents(self.live, self.scratch, self.wanted, preview, on_conflict, self.keep)

    def keep(self, content: bytes) -> str:
        self.undo, self.then = content, contents(self.database)
        return "kept"

    def take_back(self) -> str:
        return undo(self.live.uri, self.undo)
