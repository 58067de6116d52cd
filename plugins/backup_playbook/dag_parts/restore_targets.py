"""Where a restore may go, where it reads from, and what it must never touch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from backup_playbook.config import PlaybookConfig, Source
from backup_playbook.core.errors import ConfigError, PlaybookError
from backup_playbook.core.guards import DatabaseIdentity
from backup_playbook.dag_parts import connections
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer, read_identity

log = logging.getLogger(__name__)


def scratch_database(config: PlaybookConfig, source: str, name: str, owner: str = "") -> ScratchDatabase:
    """A scratch of the restore test of `source`, made already or not. Raises ConfigError when it has no such test."""
    settings = config.source(source)
    if settings.restore_test is None:
        raise ConfigError(
            f"The source {source!r} has no restore test.", f"Add `restore_test` to sources.{source} in sources.yaml."
        )
    target = settings.restore_test.target
    server = connections.target_server(config, target)
    options = RestoreOptions(streams=settings.streams)
    return ScratchDatabase(ScratchServer(server, production_databases(config)), name, owner, options)


def repository_of(settings: Source, source: str, wanted: str, month: datetime) -> str:
    """The repository that a test reads from. wanted: one of operators.restore.REPOSITORIES."""
    if wanted == "offsite" and not settings.offsite:
        raise ConfigError(
            f"The source {source!r} has no off-site repository.", "Choose `primary`, or name one in sources.yaml."
        )
    if wanted == "alternate":
        repositories = (settings.repository, *settings.offsite)
        return repositories[(month.year * 12 + month.month - 1) % len(repositories)]
    return settings.offsite[0] if wanted == "offsite" else settings.repository


def production_databases(config: PlaybookConfig) -> list[DatabaseIdentity]:
    """The databases of all sources: as they are now, and, of one that cannot be reached, as its newest backup says.

    The second matters on the worst of days: the server is away, and comes back while a restore runs.
    """
    with ThreadPoolExecutor(8, thread_name_prefix="identity") as threads:
        found = threads.map(lambda source: list(_identities(config, source)), config.sources)
        return [known for identities in found for known in identities]


def _identities(config: PlaybookConfig, source: str) -> Iterator[DatabaseIdentity]:
    settings = config.source(source)
    try:
        yield read_identity(connections.postgres_server(settings, source))
        return
    except PlaybookError as error:
        log.warning("%s is recognised by its newest backup: %s", source, error.what)
    try:
        catalog = connections.catalog(config, settings.repository)
        for entry in catalog.backups(source)[:1]:
            details = catalog.manifest(source, entry.backup_id).details
            yield DatabaseIdentity(details["system_identifier"], int(details["database"]["oid"]), source)
    except PlaybookError as error:
        log.warning("%s cannot be recognised by its backups either: %s", source, error.what)
