"""What a recovery of production works on: the server, as a role that may exchange its databases, and who is at it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from backup_playbook.config import MongoRecovery, MongoSource, PlaybookConfig, SourceRecovery
from backup_playbook.core.errors import ConfigError
from backup_playbook.core.recovery_points import is_sound
from backup_playbook.dag_parts import connections
from backup_playbook.dag_parts.repositories import Repositories, names_of
from backup_playbook.dag_parts.restore_targets import production_databases
from backup_playbook.engines.contract import ScratchTarget
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.promotion import MongoPromotion
from backup_playbook.engines.mongodb.side_by_side import LiveMongo, MongoCopy
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.promotion import Promotion
from backup_playbook.engines.postgres.recovery_preflight import MAINTENANCE_DATABASE
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer
from backup_playbook.engines.postgres.swap import Swap
from backup_playbook.engines.quarantine import Quarantine


def recovery_settings(config: PlaybookConfig, source: str) -> SourceRecovery | MongoRecovery:
    """Raises ConfigError when production of `source` is not to be touched."""
    settings = config.source(source).recovery
    if settings is None:
        raise ConfigError(
            f"The source {source!r} has no `recovery`: its production database is not to be touched.",
            f"Add `recovery` to sources.{source} in sources.yaml; or restore it elsewhere.",
        )
    return settings


def live_mongo(config: PlaybookConfig, source: str) -> MongoServer:
    """Production of a MongoDB source, as the user who may write to it. Raises ConfigError."""
    connection = recovery_settings(config, source).connection
    database = live_database(config, source)
    where = f"sources.yaml: sources.{source}.recovery.connection"
    return connections.mongo_server_of(connection, where, database).at_primary()


def live_database(config: PlaybookConfig, source: str) -> str:
    """The name under which applications find it."""
    settings = config.source(source)
    if isinstance(settings, MongoSource):
        return connections.mongo_server(settings, source).database
    return connections.postgres_server(settings, source).database


def production_server(config: PlaybookConfig, source: str) -> PostgresServer:
    """The server of `source` at MAINTENANCE_DATABASE, as the role that may exchange databases."""
    settings = recovery_settings(config, source)
    where = f"sources.yaml: sources.{source}.recovery.connection"
    return connections.server_of(connections.airflow_connection(settings.connection, where), MAINTENANCE_DATABASE)


def production_scratch(
    config: PlaybookConfig, source: str, name: str, owner: str = "", leave_out: Sequence[str] = ()
) -> ScratchTarget:
    """A copy beside the live database, with its owners and grants; of MongoDB, in it."""
    settings = config.source(source)
    if isinstance(settings, MongoSource):
        return MongoCopy(LiveMongo(live_mongo(config, source)), name, owner, settings.streams)
    server = production_server(config, source)
    restoring = RestoreOptions(streams=settings.streams, owners=True, leave_out=leave_out)
    return ScratchDatabase(ScratchServer(server, partial(production_databases, config)), name, owner, restoring)


def exchange_of(
    config: PlaybookConfig, source: str, swap: Swap, by: str, now: datetime, returning: Quarantine | None = None
) -> Promotion | MongoPromotion:
    """by: the run. returning: the candidate of the swap, when it is a quarantine that comes back."""
    if isinstance(config.source(source), MongoSource):
        return MongoPromotion(live_mongo(config, source), swap.candidate, swap.quarantine, source, by, now)
    return Promotion(production_server(config, source), swap, source, by, now, returning)


def newest_proof(config: PlaybookConfig, source: str) -> Any:
    """The newest backup that a restore has proven, in any of its repositories that answers; None: there is none."""
    now = datetime.now(UTC)
    listed = Repositories(config).all(names_of(config, source), lambda catalog: catalog.backups(source))
    found = [entry for backups in listed.values() for entry in backups if entry.proven and is_sound(entry, now)]
    return max(found, key=lambda entry: entry.backup_id, default=None)
