"""Where a restore may go, where it reads from, and what it must never touch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from backup_playbook.config import DatabaseSource, MongoSource, PlaybookConfig, PostgresSource, Source
from backup_playbook.core.errors import ConfigError, PlaybookError
from backup_playbook.core.guards import CollectionsIdentity, DatabaseIdentity
from backup_playbook.core.model import Manifest
from backup_playbook.dag_parts import connections
from backup_playbook.dag_parts.repositories import Repositories, names_of
from backup_playbook.engines.contract import ScratchTarget
from backup_playbook.engines.mongodb.restore import source_identity
from backup_playbook.engines.mongodb.scratch import MongoScratch, MongoScratchServer, read_collections_identity
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.restore import source_identity as postgres_identity
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer, read_identity

log = logging.getLogger(__name__)

Identity = TypeVar("Identity", DatabaseIdentity, CollectionsIdentity)


def scratch_database(
    config: PlaybookConfig,
    source: str,
    name: str,
    owner: str = "",
    *,
    target: str = "",
    only: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    owners: bool = False,
) -> ScratchDatabase:
    """A scratch, made already or not. target: in targets.yaml; empty: that of the restore test of `source`.

    Raises ConfigError when it has no such test.
    """
    server = connections.target_server(config, target or tested_on(config, source))
    options = RestoreOptions(streams=config.source(source).streams, only=only, leave_out=leave_out, owners=owners)
    return ScratchDatabase(ScratchServer(server, partial(production_databases, config)), name, owner, options)


def scratch_target(
    config: PlaybookConfig, source: str, name: str, owner: str = "", *, target: str = "", **postgres: Any
) -> ScratchTarget:
    """The same for a source of any engine."""
    settings = config.source(source)
    if not isinstance(settings, MongoSource):
        return scratch_database(config, source, name, owner, target=target, **postgres)
    server = connections.mongo_target(config, target or tested_on(config, source))
    return MongoScratch(
        MongoScratchServer(server, partial(production_collections, config)), name, owner, settings.streams
    )


def tested_on(config: PlaybookConfig, source: str) -> str:
    """The target of its restore test. Raises ConfigError when it has none."""
    settings = config.source(source).restore_test
    if settings is None:
        raise ConfigError(
            f"The source {source!r} has no restore test.", f"Add `restore_test` to sources.{source} in sources.yaml."
        )
    return settings.target


def reading_order(settings: Source, source: str, wanted: str, month: datetime) -> list[list[str]]:
    """Groups of repositories; one is asked only when none before it has the backup. Of those in a group the newest
    backup is taken, of copies the first. wanted: one of operators.restore.REPOSITORIES. Raises ConfigError."""
    everything = [settings.repository, *settings.offsite]
    if wanted == "offsite" and not settings.offsite:
        raise ConfigError(
            f"The source {source!r} has no off-site repository.", "Choose `primary`, or name one in sources.yaml."
        )
    if wanted == "alternate":
        turn = everything[(month.year * 12 + month.month - 1) % len(everything)]
        return [[turn], [name for name in everything if name != turn]]
    return [{"any": everything, "primary": everything[:1], "offsite": everything[1:]}[wanted]]


def production_databases(config: PlaybookConfig) -> list[DatabaseIdentity]:
    """The Postgres databases of all sources: as they are now, and, of one that cannot be reached, as its newest backup
    in any repository says.

    The second matters on the worst of days: the server is away, and comes back while a restore runs.
    """

    def live(settings: Source, name: str) -> DatabaseIdentity:
        return read_identity(connections.postgres_server(settings, name))

    return _identities(config, PostgresSource, live, postgres_identity)


def production_collections(config: PlaybookConfig) -> list[CollectionsIdentity]:
    """The same of the MongoDB databases."""

    def live(settings: Source, name: str) -> CollectionsIdentity:
        assert isinstance(settings, MongoSource)
        return read_collections_identity(connections.mongo_server(settings, name))

    return _identities(config, MongoSource, live, source_identity)


def _identities(
    config: PlaybookConfig,
    kind: type[DatabaseSource],
    live: Callable[[Source, str], Identity],
    backed_up: Callable[[Manifest], Identity],
) -> list[Identity]:
    def identify(name: str) -> Identity | None:
        settings = config.source(name)
        try:
            return live(settings, name)
        except PlaybookError as error:
            log.warning("%s is recognised by its newest backup: %s", name, error.what)
        catalogs = Repositories(config).all(
            names_of(config, name), lambda catalog: (catalog, catalog.backups(name)[:1])
        )
        newest = [(entry.backup_id, catalog) for catalog, entries in catalogs.values() for entry in entries]
        for backup_id, catalog in sorted(newest, key=lambda one: one[0], reverse=True):
            try:
                return replace(backed_up(catalog.manifest(name, backup_id)), name=name)
            except PlaybookError as error:
                log.warning("%s cannot be recognised by its backup in %s: %s", name, catalog.store.name, error.what)
        log.warning("%s cannot be recognised by its backups either: no repository has one that can be read.", name)
        return None

    names = [name for name, settings in config.sources.items() if isinstance(settings, kind)]
    with ThreadPoolExecutor(8, thread_name_prefix="identity") as threads:
        return [found for found in threads.map(identify, names) if found]
