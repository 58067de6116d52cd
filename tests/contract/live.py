"""What an engine can do with production, beyond backups and restores, in the words that all engines share.

| engine   | LiveDatabase | RecordRecovery |
|----------|--------------|----------------|
| postgres | yes          | yes, of rows   |
| mongodb  | yes          | yes, of documents |
| files    | no: restore_files writes into production itself | no: restore_files restores single files |

`test_live_databases.py` holds the table to what the configuration lets people ask for. The adapters call the engines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from backup_playbook.core.guards import CollectionsIdentity, DatabaseIdentity
from backup_playbook.core.promotion import Promoted, State
from backup_playbook.engines import live_database as engines
from backup_playbook.engines.contract import CopyServer, ScratchTarget
from backup_playbook.engines.mongodb import live as mongodb
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.scratch import MongoScratchServer, read_collections_identity
from backup_playbook.engines.postgres import live as postgres
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.scratch import ScratchServer, read_identity
from backup_playbook.engines.quarantine import Quarantine
from backup_playbook.repository.objects import BackupReader

ABILITIES: Mapping[str, Sequence[str]] = {
    "postgres": ("LiveDatabase", "RecordRecovery"),
    "mongodb": ("LiveDatabase", "RecordRecovery"),
    "files": (),
}


def engines_with(ability: str) -> list[str]:
    return [engine for engine, abilities in ABILITIES.items() if ability in abilities]


@dataclass(frozen=True)
class Inspected:
    """identity: of the live database, to recognise it by when it is exchanged; engines know what it means."""

    identity: Any
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Exchange:
    """What takes whose place, as planned. quarantine: what the live database is called afterwards. by: the run."""

    identity: Any
    candidate: str
    candidate_identity: Any
    quarantine: str
    by: str
    now: datetime


@dataclass(frozen=True)
class Found:
    """A quarantine, and what it takes to bring it back."""

    quarantine: Quarantine
    identities: tuple[Any, Any] = field(default=(None, None))
    """Its own, and that of the live database."""


class LiveDatabase(Protocol):
    """A live database that can be replaced by a copy. name: under which applications find it."""

    name: str
    source: str

    def count(self) -> dict[str, int]:
        """Rows by table as they are now."""
        ...

    def inspect(self, reader: BackupReader, quarantine: str) -> Inspected:
        """Look whether the backup can take its place. Raises RestoreError that names all that stands in the way."""
        ...

    def copy_beside(self, name: str, owner: str) -> ScratchTarget:
        """A place beside production, made already or not."""
        ...

    def identify(self, copy: ScratchTarget) -> Any:
        """Of a proven copy."""
        ...

    def promote(self, exchange: Exchange) -> Promoted:
        """Can be repeated. Raises GuardError when the two are not what was planned."""
        ...

    def reopen(self, exchange: Exchange) -> State:
        """After a run that died: applications get in again."""
        ...

    def find_quarantine(self, wanted: str) -> Found:
        """wanted: a name, or `newest`. Raises GuardError."""
        ...

    def roll_back(self, found: Found, quarantine: str, by: str, now: datetime) -> Promoted:
        """The quarantine is live again, and what is live becomes one. Can be repeated."""
        ...

    def release(self, quarantine: str) -> None:
        """Drop it for good. Does nothing when it is gone. Raises GuardError when it is no quarantine of the source."""
        ...

    def require_new(self, name: str) -> None:
        """Raises RestoreError when no copy can be kept under this name."""
        ...

    def staging(self, kept_as: str) -> ScratchTarget:
        """A scratch elsewhere that can be kept under this name."""
        ...

    def keep(self, scratch: ScratchTarget, kept_as: str) -> None:
        """Can be repeated. Raises GuardError when it is no scratch, or production."""
        ...


class _Live:
    """What both have in common. new, server: see the classes of the engines."""

    def __init__(self, new: engines.LiveDatabase, host: CopyServer, source: str) -> None:
        self._new, self._host, self.name, self.source = new, host, new.name, source

    def count(self) -> dict[str, int]:
        return dict(self._new.count())

    def inspect(self, reader: BackupReader, quarantine: str) -> Inspected:
        found = self._new.inspect(reader, quarantine)
        return Inspected(found.live_id, tuple(found.remarks))

    def copy_beside(self, name: str, owner: str) -> ScratchTarget:
        return self._new.side_by_side(name, owner)

    def identify(self, copy: ScratchTarget) -> str:
        return copy.identify()

    def promote(self, exchange: Exchange) -> Promoted:
        return self._new.promote(self._planned(exchange))

    def reopen(self, exchange: Exchange) -> State:
        return self._new.reopen(self._planned(exchange))

    def find_quarantine(self, wanted: str) -> Found:
        found = self._new.find_quarantine(wanted)
        return Found(found.quarantine, (found.quarantine_id, found.live_id))

    def roll_back(self, found: Found, quarantine: str, by: str, now: datetime) -> Promoted:
        kept, live = found.identities
        exchange = Exchange(live, found.quarantine.name, kept, quarantine, by, now)
        return self._new.promote(self._planned(exchange, found.quarantine))

    def release(self, quarantine: str) -> None:
        self._new.release(quarantine)

    def require_new(self, name: str) -> None:
        self._host.require_room(name, 0)

    def staging(self, kept_as: str) -> ScratchTarget:
        return self._host.scratch(self._host.new_name(self.source, kept_as), "a run")

    def keep(self, scratch: ScratchTarget, kept_as: str) -> None:
        scratch.keep(kept_as)

    def _planned(self, one: Exchange, returning: Quarantine | None = None) -> engines.Exchange:
        names = one.candidate, one.candidate_identity, one.quarantine
        return engines.Exchange(self.name, one.identity, *names, one.by, one.now, returning)


class PostgresLive(_Live):
    """server: at another database than the live one, as the role that may exchange them."""

    def __init__(self, server: PostgresServer, name: str, source: str) -> None:
        def production() -> list[DatabaseIdentity]:
            return [read_identity(server.at(name))]

        new = postgres.PostgresLive(source, name, server, server.at(name), production)
        super().__init__(new, ScratchServer(server, production), source)


class MongoLive(_Live):
    """server: leads to the live database, as the user who may write there."""

    def __init__(self, server: MongoServer, source: str) -> None:
        def production() -> list[CollectionsIdentity]:
            return [read_collections_identity(server)]

        super().__init__(mongodb.MongoLive(source, server, server), MongoScratchServer(server, production), source)
