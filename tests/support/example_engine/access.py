"""Access to a SQLite source: what connections/registry.py names."""

from collections.abc import Mapping
from pathlib import Path

from backup_playbook.connections.base import DatabaseAccess
from backup_playbook.core.model import Manifest
from backup_playbook.engines.contract import CopyServer, Source
from backup_playbook.engines.live_database import LiveDatabase
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords
from tests.support.example_engine.copies import Directory
from tests.support.example_engine.database import Database, Identity
from tests.support.example_engine.dump import SqliteDetails, SqliteDump
from tests.support.example_engine.engine import SqliteEngine
from tests.support.example_engine.live import SqliteLive
from tests.support.example_engine.records import SqliteRecords
from tests.support.example_engine.settings import SqliteSource


class SqliteAccess(DatabaseAccess[Identity]):
    """See `connections.base.Access`."""

    engine = SqliteEngine()
    settings: SqliteSource

    @property
    def database(self) -> Database:
        return Directory(Path(self.settings.directory), self.production).database(self.settings.database)

    def source(self) -> Source:
        return SqliteDump(self.database)

    def copy_server(self, target: str = "") -> CopyServer:
        return Directory(Path(self.target(target or self.restore_test_target()).directory), self.production)

    def live(self) -> LiveDatabase:
        self.recovery()  # which says that production may be touched
        return SqliteLive(self.name, self.settings.database, Directory(self.database.path.parent, self.production))

    def records(self, wanted: WantedRecords) -> RecordRecovery:
        self.recovery()
        return SqliteRecords(self.database, wanted)

    def count(self) -> Mapping[str, int]:
        return self.database.count()

    def identity(self) -> Identity:
        return Identity(self.name, self.database.path.resolve())

    def identity_in(self, manifest: Manifest) -> Identity:
        return Identity(self.name, Path(SqliteDetails.of(manifest).path))
