"""Access to a Postgres source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow.sdk import Connection
from psycopg import pq

from backup_playbook.config.postgres import PostgresSource
from backup_playbook.connections.base import DatabaseAccess
from backup_playbook.connections.lookup import airflow_connection
from backup_playbook.core.guards import DatabaseIdentity
from backup_playbook.core.model import Manifest, TableRecord
from backup_playbook.engines.contract import CopyServer, Source
from backup_playbook.engines.live_database import LiveDatabase
from backup_playbook.engines.postgres import dump
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.live import PostgresLive
from backup_playbook.engines.postgres.records import PostgresRecords
from backup_playbook.engines.postgres.recovery_preflight import MAINTENANCE_DATABASE
from backup_playbook.engines.postgres.restore import source_identity
from backup_playbook.engines.postgres.row_counts import count_rows
from backup_playbook.engines.postgres.row_lookup import Row, find_record, lookup_rows
from backup_playbook.engines.postgres.scratch import ScratchServer, read_identity
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

_LIBPQ_KEYWORDS = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())


class PostgresAccess(DatabaseAccess[DatabaseIdentity]):
    """See `connections.base.Access`."""

    engine = PostgresEngine()
    settings: PostgresSource

    @property
    def server(self) -> PostgresServer:
        """The live database, as the role that reads it."""
        connection = airflow_connection(self.settings.connection, f"sources.yaml: sources.{self.name}.connection")
        return server_of(connection, self.settings.database)

    def source(self) -> Source:
        """Return the live database as a source of backups."""
        return dump.PostgresSource(
            server=self.server,
            streams=self.settings.streams,
            lock_timeout_seconds=self.settings.lock_timeout.total_seconds(),
            role_passwords=self.settings.role_passwords,
            without_rows=self.settings.without_rows,
        )

    def copy_server(self, target: str = "") -> CopyServer:
        """Return a server of targets.yaml."""
        name = target or self.restore_test_target()
        connection = airflow_connection(self.target(name).connection, f"targets.yaml: targets.{name}.connection")
        return ScratchServer(server_of(connection), self.production, self.settings.streams)

    def live(self) -> LiveDatabase:
        """Return the production database, as the role that may exchange it."""
        readable = self.server
        return PostgresLive(
            source=self.name,
            name=readable.database,
            server=self._as_recovery_role(),
            readable=readable,
            production=self.production,
            streams=self.settings.streams,
        )

    def records(self, wanted: WantedRecords) -> RecordRecovery:
        """Return a recovery of these rows."""
        return PostgresRecords(self._as_recovery_role().at(self.server.database), wanted)

    def contents(
        self, reader: BackupReader, table: str, keys: Sequence[str], cancellation: Cancellation
    ) -> tuple[Sequence[TableRecord], Sequence[Row]]:
        """Return the tables of a backup, and rows of one of them."""
        records = [find_record(reader.manifest, table)] if table else reader.manifest.tables
        return records, lookup_rows(reader, records[0], keys, cancellation) if keys else []

    def count(self) -> Mapping[str, int]:
        """Count the rows of production now."""
        return count_rows(self.server)

    def identity(self) -> DatabaseIdentity:
        """Read the identity of the live database."""
        return read_identity(self.server)

    def identity_in(self, manifest: Manifest) -> DatabaseIdentity:
        """Return that of the database that was backed up."""
        return source_identity(manifest)

    def _as_recovery_role(self) -> PostgresServer:
        """The server at MAINTENANCE_DATABASE, as the role that may exchange databases."""
        where = f"sources.yaml: sources.{self.name}.recovery.connection"
        return server_of(airflow_connection(self.recovery().connection, where), MAINTENANCE_DATABASE)


def server_of(connection: Connection, database: str | None = None) -> PostgresServer:
    """Return the server of a connection. database: another one than the connection names."""
    keywords = {
        "host": connection.host,
        "port": str(connection.port or 5432),
        "dbname": database or connection.schema,
        "user": connection.login,
        # sslmode, sslrootcert, options ... as the Postgres provider takes them; its other extras are not libpq's
        **{key: str(value) for key, value in connection.extra_dejson.items() if key in _LIBPQ_KEYWORDS},
    }
    return PostgresServer({key: value for key, value in keywords.items() if value}, connection.password)
