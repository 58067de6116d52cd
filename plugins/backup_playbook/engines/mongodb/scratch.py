"""Scratch databases: made for one restore, found again when their worker was killed, and removed.

A MongoDB database is made by its first collection: in a scratch, the mark that says whose it is. Nothing without the
mark is written to or dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.guards import CollectionsIdentity, require_no_production_collections
from backup_playbook.core.model import Manifest
from backup_playbook.core.proof import Proof
from backup_playbook.engines.contract import WHOLE, CopyOptions, CopyServer, Room, ScratchTarget
from backup_playbook.engines.mongodb.collections import SCRATCH_MARK, identity
from backup_playbook.engines.mongodb.connection import Document, MongoServer, deployment, explained, release
from backup_playbook.engines.mongodb.details import MongoDetails
from backup_playbook.engines.mongodb.kept import SERVERS_OWN, is_kept, keep, require_new, require_room
from backup_playbook.engines.mongodb.proof import prove
from backup_playbook.engines.mongodb.restore import Restore
from backup_playbook.engines.scratch import Scratch, scratch_name
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MongoScratchServer:
    """A server on which scratch databases are made. streams: how many load at once.

    production: what is never written to or dropped; asked for only before that.
    """

    server: MongoServer
    production: Callable[[], Sequence[CollectionsIdentity]]
    streams: int = 2

    def new_name(self, source: str, kept: str) -> str:
        """Return the name that will be kept, if there is one: MongoDB renames no databases."""
        return kept or scratch_name(source)

    def scratch(
        self,
        name: str,
        owner: str = "",
        options: CopyOptions = WHOLE,  # noqa: ARG002 - of the contract
    ) -> MongoScratch:
        """Return the scratch of this name, made already or not. It has no options."""
        return MongoScratch(self, name, owner, self.streams)

    def require_room(self, name: str, content_bytes: int) -> Room:
        """Look whether a copy fits, and the name is free. Raises RestoreError."""
        if name:
            require_new(self.server, name)
        return Room(self.server.label, require_room(self.server, content_bytes))

    def list_scratches(self) -> list[Scratch]:
        """List all scratches, also those of other runs and of killed workers. Raises SourceError."""
        with self.server.connect() as database:
            names = [name for name in database.client.list_database_names() if name not in SERVERS_OWN]
            return [found for name in names if (found := _recognise(database.client, name))]

    def create(self, scratch: Scratch) -> None:
        """Make a marked database. Raises RestoreError when there is one of this name."""
        mark = {"_id": scratch.name, "source": scratch.source, "backup_id": scratch.backup_id, "owner": scratch.owner}
        with (
            self.server.at(scratch.name).connect() as database,
            explained(f"No scratch could be made on {self.server.label}", RestoreError),
        ):
            if scratch.name in database.client.list_database_names():
                raise RestoreError(
                    f"There is a database {scratch.name} already on the server of {self.server.label}.",
                    "Nothing was touched. Start a new run, with another name.",
                )
            database[SCRATCH_MARK].insert_one({**mark, "created_at": datetime.now(UTC).isoformat()})

    def drop(self, name: str) -> None:
        """Drop a scratch, if it is there. Raises GuardError, and drops nothing, when it is not a scratch of ours."""
        with self.server.at(name).connect() as database:
            if name not in database.client.list_database_names():
                return
            require_no_production_collections(identity(database), self.production())
            if _recognise(database.client, name) is None:
                raise GuardError(
                    f"The database {name} on {self.server.label} is not a scratch: it lacks the collection "
                    f"{SCRATCH_MARK} that every scratch has.",
                    "Nothing was dropped. If it is one, and you want it gone, drop it manually.",
                )
            with explained(f"The scratch {name} on {self.server.label} could not be dropped", RestoreError):
                database.client.drop_database(name)
        log.info("The scratch %s is gone.", name)


class MongoTarget:
    """Answers that all copies in MongoDB share."""

    name: str

    def identify(self) -> str:
        """Return nothing: the name, and the marks of a set, are enough."""
        return ""

    def lacks_for_owners(self, reader: BackupReader) -> str:  # noqa: ARG002 - of the contract
        """Return nothing: MongoDB's backups have no owners."""
        return ""

    def ask(self, query: str) -> Any:  # noqa: ARG002 - of the contract
        """Raise RestoreError: SQL is for Postgres."""
        raise RestoreError(
            f"{self.name} cannot be asked in SQL.",
            "Checks with a `query` are for Postgres: use a command or a page instead.",
        )


@dataclass(frozen=True)
class MongoScratch(MongoTarget):
    """A scratch as the target of one restore; see `engines.contract.ScratchTarget`. streams: how many load at once."""

    host: MongoScratchServer
    name: str
    owner: str
    streams: int = 2

    @property
    def server(self) -> MongoServer:
        """The scratch database."""
        return self.host.server.at(self.name)

    @property
    def label(self) -> str:
        """Name in messages."""
        return self.server.label

    takes_applications = True

    @property
    def url(self) -> str:
        """DATABASE_URL for applications; holds the password."""
        return self.server.url

    def create(self, manifest: Manifest) -> None:
        """Make the scratch. Raises RestoreError when the server is older than the backup's."""
        with self.host.server.connect() as database:
            found, needed = deployment(database), MongoDetails.of(manifest).server_version
            if found.release < release(needed):
                raise RestoreError(
                    f"{self.host.server.label} is MongoDB {found.version}, older than the {needed} that the backup "
                    f"{manifest.backup_id} of {manifest.source} was taken from.",
                    "Nothing was written. Upgrade the target server, or name another in targets.yaml.",
                )
        self.host.create(Scratch(self.name, manifest.source, manifest.backup_id, self.owner))

    def restore(self, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        """Fill the scratch; return seconds by phase."""
        self.require_mark()
        return Restore(self.server, self.host.production(), reader, self.streams, cancellation).run()

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Proof:
        """Compare the scratch with the backup."""
        return prove(self.server, reader, cancellation, streams=self.streams)

    def keep(self, name: str) -> None:
        """Make the proven copy an ordinary database; see `engines.contract.ScratchTarget`."""
        if name != self.name:
            raise GuardError(
                f"{self.label} cannot be kept as {name}: MongoDB renames no databases.",
                "Nothing was touched. Start a new run: it makes the copy under this name.",
            )
        keep(self.server, self.host.production)

    def is_kept(self, name: str) -> bool:
        """Say whether the database of this name is an ordinary one."""
        return name == self.name and is_kept(self.server)

    def drop(self) -> None:
        """Remove the scratch, if it is there."""
        self.host.drop(self.name)

    def require_mark(self) -> None:
        """Raise GuardError when it is no scratch of ours; called before anything is written to it."""
        with self.server.connect() as database:
            if _recognise(database.client, self.name) is None:
                raise GuardError(
                    f"The database {self.name} on {self.host.server.label} is not a scratch.",
                    "Nothing was written. Start the restore again: it makes a new one.",
                )


def _recognise(client: MongoClient[Document], name: str) -> Scratch | None:
    mark = client[name][SCRATCH_MARK].find_one({"_id": name})
    if mark is None:
        return None
    return Scratch(name, mark["source"], mark["backup_id"], mark["owner"], datetime.fromisoformat(mark["created_at"]))


def read_collections_identity(server: MongoServer) -> CollectionsIdentity:
    """Identify the database that `server` leads to. Raises SourceError when it cannot be reached."""
    with server.connect() as database:
        return identity(database)


if TYPE_CHECKING:
    _server: type[CopyServer] = MongoScratchServer
    _scratch: type[ScratchTarget] = MongoScratch
