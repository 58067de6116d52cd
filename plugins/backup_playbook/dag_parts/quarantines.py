"""What a recovery has replaced, of any engine: found, and dropped."""

from __future__ import annotations

from functools import partial

from backup_playbook.config import MongoSource, PlaybookConfig
from backup_playbook.core.errors import GuardError
from backup_playbook.dag_parts.recovery import live_mongo, production_server
from backup_playbook.dag_parts.restore_targets import production_databases
from backup_playbook.engines.mongodb import quarantine as mongodb
from backup_playbook.engines.postgres import quarantine as postgres
from backup_playbook.engines.postgres.connection import identity
from backup_playbook.engines.quarantine import Quarantine


def find_quarantine(config: PlaybookConfig, source: str, wanted: str) -> tuple[Quarantine, int, int]:
    """It, and the oids of it and of what has its name now. wanted: a name, or `newest`. Raises GuardError."""
    if isinstance(config.source(source), MongoSource):
        return mongodb.find_quarantine(live_mongo(config, source), source, wanted), 0, 0
    server = production_server(config, source)
    with server.connect(autocommit=True) as connection:
        found = postgres.find_quarantine(connection, source, wanted, server.label)
        kept, live = identity(connection, found.name), identity(connection, found.live)
    if kept is None or live is None:
        raise GuardError(
            f"{found.name} was {found.live}, and there is no database {found.live} now.",
            f"Nothing was touched. If it was renamed by hand, rename it back to {found.live}.",
        )
    return found, kept.database_oid, live.database_oid


def drop_quarantine(config: PlaybookConfig, source: str, name: str) -> None:
    """For good. Does nothing when it is gone. Raises GuardError."""
    if isinstance(config.source(source), MongoSource):
        mongodb.drop_quarantine(live_mongo(config, source), source, name)
    else:
        postgres.drop_quarantine(production_server(config, source), source, name, partial(production_databases, config))
