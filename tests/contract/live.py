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

from backup_playbook.core.promotion import Promoted, State, Swap
from backup_playbook.engines.mongodb import kept as mongo_kept
from backup_playbook.engines.mongodb import preflight as mongo_preflight
from backup_playbook.engines.mongodb import quarantine as mongo_quarantine
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.counts import count_documents
from backup_playbook.engines.mongodb.promotion import MongoPromotion
from backup_playbook.engines.mongodb.scratch import MongoScratch, MongoScratchServer, read_collections_identity
from backup_playbook.engines.mongodb.side_by_side import LiveMongo, MongoCopy
from backup_playbook.engines.postgres import kept as postgres_kept
from backup_playbook.engines.postgres import quarantine as postgres_quarantine
from backup_playbook.engines.postgres.connection import PostgresServer, identity
from backup_playbook.engines.postgres.promotion import Promotion
from backup_playbook.engines.postgres.recovery_preflight import inspect_live
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.row_counts import count_rows
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer, read_identity
from backup_playbook.engines.quarantine import Quarantine
from backup_playbook.engines.scratch import ScratchTarget
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


class PostgresLive:
    """server: at another database than the live one, as the role that may exchange them."""

    def __init__(self, server: PostgresServer, name: str, source: str) -> None:
        self._server, self.name, self.source = server, name, source

    def count(self) -> dict[str, int]:
        return count_rows(self._server.at(self.name))

    def inspect(self, reader: BackupReader, quarantine: str) -> Inspected:
        found = inspect_live(self._server, self.name, reader.manifest.content_bytes)
        return Inspected(found.oid, found.remarks)

    def copy_beside(self, name: str, owner: str) -> ScratchDatabase:
        return ScratchDatabase(self._host, name, owner, RestoreOptions(owners=True))

    def identify(self, copy: ScratchTarget) -> int:
        return read_identity(self._server.at(copy.name)).database_oid

    def promote(self, exchange: Exchange) -> Promoted:
        return self._promotion(exchange).run()

    def reopen(self, exchange: Exchange) -> State:
        return self._promotion(exchange).reopen()

    def find_quarantine(self, wanted: str) -> Found:
        with self._server.connect(autocommit=True) as connection:
            found = postgres_quarantine.find_quarantine(connection, self.source, wanted, self._server.label)
            kept, live = identity(connection, found.name), identity(connection, found.live)
        assert kept is not None
        assert live is not None
        return Found(found, (kept.database_oid, live.database_oid))

    def roll_back(self, found: Found, quarantine: str, by: str, now: datetime) -> Promoted:
        kept, live = found.identities
        exchange = Exchange(live, found.quarantine.name, kept, quarantine, by, now)
        return self._promotion(exchange, returning=found.quarantine).run()

    def release(self, quarantine: str) -> None:
        postgres_quarantine.drop_quarantine(self._server, self.source, quarantine, self._production)

    def require_new(self, name: str) -> None:
        postgres_kept.require_fitting_name(name)
        postgres_kept.require_new(self._server, name)

    def staging(self, kept_as: str) -> ScratchDatabase:
        return ScratchDatabase(self._host, f"scratch_{kept_as[-30:]}_00000000", "a run")

    def keep(self, scratch: ScratchTarget, kept_as: str) -> None:
        postgres_kept.keep(self._host, scratch.name, kept_as)

    @property
    def _production(self) -> list[Any]:
        return [read_identity(self._server.at(self.name))]

    @property
    def _host(self) -> ScratchServer:
        return ScratchServer(self._server, self._production)

    def _promotion(self, exchange: Exchange, returning: Quarantine | None = None) -> Promotion:
        names = exchange.candidate, exchange.candidate_identity, exchange.quarantine
        swap = Swap(self.name, exchange.identity, *names)
        return Promotion(self._server, swap, self.source, exchange.by, exchange.now, returning)


class MongoLive:
    """server: leads to the live database, as the user who may write there."""

    def __init__(self, server: MongoServer, source: str) -> None:
        self._server, self.name, self.source = server, server.database, source

    def count(self) -> dict[str, int]:
        return count_documents(self._server)

    def inspect(self, reader: BackupReader, quarantine: str) -> Inspected:
        mongo_preflight.inspect_live(self._server, reader.manifest, quarantine)
        return Inspected(None, ())

    def copy_beside(self, name: str, owner: str) -> MongoCopy:
        return MongoCopy(LiveMongo(self._server), name, owner)

    def identify(self, copy: ScratchTarget) -> None:
        return None  # the proof writes it down beside the collections

    def promote(self, exchange: Exchange) -> Promoted:
        return self._promotion(exchange).run()

    def reopen(self, exchange: Exchange) -> State:
        return self._promotion(exchange).reopen()

    def find_quarantine(self, wanted: str) -> Found:
        return Found(mongo_quarantine.find_quarantine(self._server, self.source, wanted))

    def roll_back(self, found: Found, quarantine: str, by: str, now: datetime) -> Promoted:
        return self._promotion(Exchange(None, found.quarantine.name, None, quarantine, by, now)).run()

    def release(self, quarantine: str) -> None:
        mongo_quarantine.drop_quarantine(self._server, self.source, quarantine)

    def require_new(self, name: str) -> None:
        mongo_kept.require_new(self._server, name)

    def staging(self, kept_as: str) -> MongoScratch:
        host = MongoScratchServer(self._server, [read_collections_identity(self._server)])
        return MongoScratch(host, kept_as, "a run")

    def keep(self, scratch: ScratchTarget, kept_as: str) -> None:
        assert isinstance(scratch, MongoScratch)
        assert scratch.name == kept_as
        mongo_kept.keep(scratch)

    def _promotion(self, exchange: Exchange) -> MongoPromotion:
        names = exchange.candidate, exchange.quarantine
        return MongoPromotion(self._server, *names, self.source, exchange.by, exchange.now)
