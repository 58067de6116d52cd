"""Access to one source: its settings, repositories, keys, engine and servers."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from botocore.config import Config

from backup_playbook.config import PlaybookConfig
from backup_playbook.connections import keys, s3
from backup_playbook.connections.backups import Backups
from backup_playbook.connections.repositories import Repositories
from backup_playbook.core.errors import ConfigError, GuardError, PlaybookError
from backup_playbook.core.model import Manifest, TableRecord
from backup_playbook.engines.contract import CopyServer, DatabaseEngine, Engine, Source
from backup_playbook.engines.live_database import LiveDatabase
from backup_playbook.engines.record_recovery import RecordRecovery, WantedRecords
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.offsite import copy_backup
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

Identity = TypeVar("Identity", bound="DataclassInstance")
"""A dataclass with a `name` for messages, and with what an engine recognises its databases by."""

IDENTITIES_AT_ONCE = 8


class Access(ABC):
    """A source, and everything that belongs to it.

    Making one contacts nobody, and no property does; only verbs do. A verb that the engine has no ability for raises
    ConfigError.
    """

    engine: ClassVar[Engine]
    settings: Any
    """Its settings in sources.yaml; each engine has a model of its own."""

    def __init__(self, config: PlaybookConfig, name: str) -> None:
        """Bind to the source of this name. Raises ConfigError when there is none, or it is of another engine."""
        self.config = config
        self.name = name
        self.settings = config.source(name)
        if self.settings.engine != self.engine.name:
            raise ConfigError(
                f"The source {name!r} is of the engine {self.settings.engine}, and not of {self.engine.name}.",
                "Choose another source.",
            )
        self.backups = Backups(config, name)

    @property
    def repositories(self) -> list[str]:
        """The names of its repositories, the primary one first."""
        return self.backups.names

    def catalog(self, repository: str = "", client: Config | None = None) -> Catalog:
        """Open the catalog of a repository, by default of the primary one. client: settings that differ."""
        return s3.catalog(self.config, repository or self.settings.repository, client)

    def codec(self, cancellation: Cancellation, *, decrypt: bool = False) -> AbstractContextManager[Codec]:
        """Make the codec of its objects. decrypt: fetch the private key, where it is configured."""
        return keys.codec(self.config, self.name, cancellation, decrypt=decrypt)

    @contextmanager
    def reader(
        self, repository: str, backup_id: str, cancellation: Cancellation, seal: str = ""
    ) -> Iterator[BackupReader]:
        """Open a backup, with the key where there is one. seal: of the manifest that was chosen.

        Raises GuardError for another manifest, and as `engines.restore.open_backup` does; what goes wrong says which
        other repository has a copy.
        """
        with (
            self.backups.naming_others(repository, backup_id),
            self.codec(cancellation, decrypt=True) as codec,
        ):
            reader = open_backup(self.catalog(repository), self.engine, self.name, backup_id, codec)
            if seal and reader.manifest.seal != seal:
                # it is no damage: a repair brings back a manifest with the seal of the copy that it came from
                raise GuardError(
                    f"The manifest of {self.name} {backup_id} was exchanged since it was chosen.",
                    "Start a new run, if repair_backup has repaired it meanwhile. Else use another backup, or the "
                    "off-site copy, and find out who wrote to the bucket.",
                )
            yield reader

    @abstractmethod
    def source(self) -> Source:
        """Return the live source, bound to its connection."""

    def reading_order(self, wanted: str, month: datetime) -> list[list[str]]:
        """Group the repositories to read from: one is asked only when none before it has the backup.

        Of those in a group the newest backup is taken, of copies the first. wanted: one of forms.fields.REPOSITORIES.
        Raises ConfigError.
        """
        everything = self.repositories
        if wanted == "offsite" and not self.settings.offsite:
            raise ConfigError(
                f"The source {self.name!r} has no off-site repository.",
                "Choose `primary`, or name one in sources.yaml.",
            )
        if wanted == "alternate":
            turn = everything[(month.year * 12 + month.month - 1) % len(everything)]
            return [[turn], [name for name in everything if name != turn]]
        return [{"any": everything, "primary": everything[:1], "offsite": everything[1:]}[wanted]]

    def restore_test_target(self) -> str:
        """Return the target of its restore test. Raises ConfigError when it has none."""
        if self.settings.restore_test is None:
            raise ConfigError(
                f"The source {self.name!r} has no restore test.",
                f"Add `restore_test` to sources.{self.name} in sources.yaml.",
            )
        return str(self.settings.restore_test.target)

    @property
    def database_engine(self) -> DatabaseEngine:
        """The knowledge of its engine of databases. Raises ConfigError for a source that is none."""
        raise self.lacks("databases")

    def copy_server(self, target: str = "") -> CopyServer:  # noqa: ARG002 - for engines that have them
        """Return a server of targets.yaml, by default that of its restore test. Raises ConfigError."""
        raise self.lacks("copies on a database server")

    def live(self) -> LiveDatabase:
        """Return its production database, as the role that may replace it. Raises ConfigError."""
        raise self.lacks("a live database that can be replaced")

    def records(self, wanted: WantedRecords) -> RecordRecovery:  # noqa: ARG002 - for engines that have them
        """Return a recovery of these records. Raises ConfigError."""
        raise self.lacks("records that can be recovered one by one")

    def contents(
        self,
        reader: BackupReader,  # noqa: ARG002 - for engines that can
        table: str,  # noqa: ARG002
        keys: Sequence[str],  # noqa: ARG002
        cancellation: Cancellation,  # noqa: ARG002
    ) -> tuple[Sequence[TableRecord], Sequence[Mapping[str, str | None]]]:
        """Return the tables of a backup, and rows of one of them, without a restore.

        table: one alone; empty: all. keys: of rows of this table, as they are written in the backup. Raises
        RowRecoveryError for what makes no sense.
        """
        raise self.lacks("backups that can be looked into")

    def count(self) -> Mapping[str, int]:
        """Count the rows of production now, by table. Raises SourceError."""
        raise self.lacks("tables")

    def copy(
        self, origin: Catalog, target: Catalog, manifest: Manifest, cancellation: Cancellation, *, anew: bool = False
    ) -> bool:
        """Copy a backup into another repository; False when the copy existed already.

        anew: replace one that is rejected there, where contents are shared. Raises VerificationError for what is not as
        the manifest says.
        """
        if anew:
            raise self.lacks("backups that share contents")
        return copy_backup(
            origin,
            target,
            manifest,
            self.engine.restore_script(manifest, target.store.url),
            same_endpoint=s3.same_endpoint(self.config, origin.store.name, target.store.name),
            streams=self.settings.streams,
            cancellation=cancellation,
        )

    def remove_unnamed(self, catalog: Catalog, now: datetime) -> int | None:  # noqa: ARG002 - for engines that share
        """Remove shared contents that no backup names any more; return how many. None: backups share nothing."""
        return None

    def lacks(self, ability: str) -> ConfigError:
        """Return the error for a verb that its engine has no ability for."""
        return ConfigError(
            f"The source {self.name!r} is of the engine {self.settings.engine}, which has no {ability}.",
            "Choose another source.",
        )


class DatabaseAccess(Access, Generic[Identity]):
    """A source that is a database: it has an identity, by which a copy is never mistaken for production."""

    engine: ClassVar[DatabaseEngine]

    @property
    def database_engine(self) -> DatabaseEngine:
        """The knowledge of its engine."""
        return self.engine

    @abstractmethod
    def identity(self) -> Identity:
        """Read the identity of the live database. Raises SourceError when it cannot be reached."""

    @abstractmethod
    def identity_in(self, manifest: Manifest) -> Identity:
        """Return the identity of the database that was backed up."""

    def production(self) -> Sequence[Identity]:
        """Identify the databases of all sources of its engine: what must never be written to or dropped.

        One that cannot be reached is identified by its newest backup in any repository. That matters on the worst of
        days: the server is unreachable, and comes back while a restore runs.
        """
        siblings = [
            type(self)(self.config, name)
            for name, settings in self.config.sources.items()
            if settings.engine == self.settings.engine
        ]
        with ThreadPoolExecutor(IDENTITIES_AT_ONCE, thread_name_prefix="identity") as threads:
            return [found for found in threads.map(type(self).identify, siblings) if found]

    def recovery(self) -> Any:
        """Return its settings for a recovery. Raises ConfigError when production is not to be touched."""
        if self.settings.recovery is None:
            raise ConfigError(
                f"The source {self.name!r} has no `recovery`: its production database is not to be touched.",
                f"Add `recovery` to sources.{self.name} in sources.yaml; or restore it elsewhere.",
            )
        return self.settings.recovery

    def target(self, name: str) -> Any:
        """Return the settings of a target. Raises ConfigError when it is of another engine."""
        settings = self.config.target(name)
        if settings.engine != self.settings.engine:
            raise ConfigError(
                f"The target {name!r} is of the engine {settings.engine}, and {self.name} is of "
                f"{self.settings.engine}.",
                "Choose a target of the same engine in targets.yaml.",
            )
        return settings

    def identify(self) -> Identity | None:
        """Identify the database, by its newest backup when it is unreachable; None when that cannot be told."""
        try:
            return self.identity()
        except PlaybookError as error:
            log.warning("%s is recognised by its newest backup: %s", self.name, error.what)
        listed = Repositories(self.config).all(
            self.repositories, lambda catalog: (catalog, catalog.backups(self.name)[:1])
        )
        newest = [(entry.backup_id, catalog) for catalog, entries in listed.values() for entry in entries]
        for backup_id, catalog in sorted(newest, key=lambda one: one[0], reverse=True):
            try:
                return replace(self.identity_in(catalog.manifest(self.name, backup_id)), name=self.name)
            except PlaybookError as error:
                log.warning("%s: its backup in %s does not identify it: %s", self.name, catalog.store.name, error.what)
        log.warning("%s cannot be recognised by its backups either: no repository has one that can be read.", self.name)
        return None
