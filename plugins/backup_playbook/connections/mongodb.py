"""Access to a MongoDB source."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.providers.mongo.hooks.mongo import MongoHook

from backup_playbook.config.mongodb import MongoSource
from backup_playbook.connections.base import DatabaseAccess
from backup_playbook.connections.lookup import airflow_connection
from backup_playbook.core.errors import ConfigError
from backup_playbook.core.guards import CollectionsIdentity
from backup_playbook.core.model import Manifest
from backup_playbook.engines.contract import CopyServer, Source
from backup_playbook.engines.live_database import LiveDatabase
from backup_playbook.engines.mongodb import dump
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.counts import count_documents
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.live import MongoLive
from backup_playbook.engines.mongodb.records import MongoRecords
from backup_playbook.engines.mongodb.restore import source_identity
from backup_playbook.engines.mongodb.scratch import MongoScratchServer, read_collections_identity
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords


class MongoAccess(DatabaseAccess[CollectionsIdentity]):
    """See `connections.base.Access`."""

    engine = MongoEngine()
    settings: MongoSource

    @property
    def server(self) -> MongoServer:
        """The live database, as the user who reads it. Raises ConfigError when nothing names it."""
        where = f"sources.yaml: sources.{self.name}.connection"
        server = server_of(self.settings.connection, where, self.settings.database)
        if not server.database:
            raise ConfigError(
                f"Nothing says which database of its server the source {self.name!r} is.",
                f"Add `database` to sources.{self.name} in sources.yaml, or a schema to the connection "
                f"{self.settings.connection!r}.",
            )
        return server

    def source(self) -> Source:
        """Return the live database as a source of backups."""
        return dump.MongoSource(self.server, self.settings.streams, leave_out=self.settings.leave_out)

    def copy_server(self, target: str = "") -> CopyServer:
        """Return a server of targets.yaml."""
        name = target or self.restore_test_target()
        server = server_of(self.target(name).connection, f"targets.yaml: targets.{name}.connection", "admin")
        return MongoScratchServer(server.at_primary(), self.production, self.settings.streams)

    def live(self) -> LiveDatabase:
        """Return the production database, as the user who may write to it."""
        return MongoLive(self.name, self._writable(), self.server, self.settings.streams)

    def records(self, wanted: WantedRecords) -> RecordRecovery:
        """Return a recovery of these documents."""
        return MongoRecords(self._writable(), wanted)

    def count(self) -> Mapping[str, int]:
        """Count the documents of production now."""
        return count_documents(self.server)

    def identity(self) -> CollectionsIdentity:
        """Read the UUIDs of the live collections."""
        return read_collections_identity(self.server)

    def identity_in(self, manifest: Manifest) -> CollectionsIdentity:
        """Return those of the collections that were backed up."""
        return source_identity(manifest)

    def _writable(self) -> MongoServer:
        """The live database, as the user who may write to it."""
        where = f"sources.yaml: sources.{self.name}.recovery.connection"
        return server_of(self.recovery().connection, where, self.server.database).at_primary()


def server_of(connection_id: str, named_by: str, database: str | None = None) -> MongoServer:
    """Return the server of a connection. database: another one than the connection names. Raises ConfigError."""
    kind = airflow_connection(connection_id, named_by).conn_type
    if kind != MongoHook.conn_type:
        raise ConfigError(
            f"The Airflow connection {connection_id!r}, which {named_by} names, is of the type {kind!r}.",
            f"Give it the type {MongoHook.conn_type!r} (MongoDB); `srv` in its extra is for addresses of mongodb+srv.",
        )
    hook = MongoHook(mongo_conn_id=connection_id)
    insecure = {"tls": True, "tlsAllowInvalidCertificates": True} if hook.allow_insecure else {}
    return MongoServer(hook.uri, database or hook.connection.schema or "", {**hook.extras, **insecure})
