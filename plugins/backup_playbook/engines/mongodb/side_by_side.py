"""Copies side by side with the live collections, in the same database: from there they are promoted."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pymongo.database import Database

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.model import Manifest
from backup_playbook.core.proof import Proof
from backup_playbook.engines.contract import ScratchHost, ScratchTarget
from backup_playbook.engines.mongodb.connection import Document, MongoServer, explained
from backup_playbook.engines.mongodb.details import MongoDetails
from backup_playbook.engines.mongodb.promotion import keep_exposed
from backup_playbook.engines.mongodb.proof import prove
from backup_playbook.engines.mongodb.restore import Restore
from backup_playbook.engines.mongodb.scratch import MongoTarget
from backup_playbook.engines.mongodb.sets import CollectionSet, collections_of, drop_set, read_sets, save_set, views_of
from backup_playbook.engines.scratch import Scratch
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveMongo:
    """A live database that copies are made in. server: the database, as a user who may write there."""

    server: MongoServer

    def list_scratches(self) -> list[Scratch]:
        """List all copies, also those of other runs and of killed workers. Raises SourceError."""
        with self.server.connect() as database:
            found = [one for one in read_sets(database).values() if one.kind == "scratch"]
        return [Scratch(one.name, one.source, one.backup_id, one.owner, one.created_at) for one in found]

    def drop(self, name: str) -> None:
        """Drop a copy, if it is there. Raises GuardError, and drops nothing, when it is no copy, or half live."""
        with self.server.connect() as database:
            sets = read_sets(database)
            if name not in sets:
                return
            half = next((one.name for one in sets.values() if one.exchanged_with == name), "")
            if sets[name].kind != "scratch" or half:
                raise GuardError(
                    f"{name} in {self.server.label} is not dropped: "
                    + (f"its promotion against {half} has not ended." if half else f"it is a {sets[name].kind}."),
                    "Clear the task `promote_copy`, which completes it." if half else "Nothing was dropped.",
                )
            with explained(f"The copy {name} in {self.server.label} could not be dropped", RestoreError):
                keep_exposed(database, sets[name])
                drop_set(database, name)
        log.info("The copy %s is gone.", name)


@dataclass(frozen=True)
class MongoCopy(MongoTarget):
    """A copy as the target of one restore; see `engines.contract.ScratchTarget`. streams: how many load at once."""

    host: LiveMongo
    name: str
    owner: str
    streams: int = 2

    @property
    def label(self) -> str:
        """Name in messages."""
        return f"{self.name} in {self.host.server.label}"

    takes_applications = False

    @property
    def url(self) -> str:
        """Never there: raises GuardError."""
        raise GuardError(
            f"No application can be sent to {self.label}: its collections have other names.",
            "Run the application's checks on staging, whose copy is equal.",
        )

    def create(self, manifest: Manifest) -> None:
        """Write the mark of the copy."""
        now, left_out = datetime.now(UTC), MongoDetails.of(manifest).left_out
        made = CollectionSet(self.name, "scratch", manifest.source, self.owner, now, manifest.backup_id)
        with self.host.server.connect() as database:
            save_set(database, replace(made, left_out=left_out))

    def restore(self, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        """Fill the copy. Its views are only noted: the promotion makes them."""
        with self.host.server.connect() as database:
            mark = self._mark(database)
            restore = Restore(self.host.server, (), reader, self.streams, cancellation, within=self.name)
            phases = restore.run()
            save_set(database, replace(mark, views=views_of(restore.views)))
        return phases

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Proof:
        """Compare the copy with the backup, and note what was proven: nothing else is promoted."""
        proof = prove(self.host.server, reader, cancellation, streams=self.streams, within=self.name)
        with self.host.server.connect() as database:
            save_set(database, replace(self._mark(database), collections=collections_of(database, self.name)))
        return proof

    def keep(self, name: str) -> None:
        """Raise GuardError: the copy is there to be promoted."""
        raise GuardError(
            f"{self.label} cannot be kept as {name}: it is there to replace the live collections.",
            "Nothing was touched. Restore the backup into a new database.",
        )

    def is_kept(self, name: str) -> bool:  # noqa: ARG002 - of the contract
        """Say no: it never is."""
        return False

    def drop(self) -> None:
        """Remove the copy, if it is there."""
        self.host.drop(self.name)

    def _mark(self, database: Database[Document]) -> CollectionSet:
        mark = read_sets(database).get(self.name)
        if mark is None or mark.kind != "scratch":
            raise GuardError(
                f"There is no copy {self.label}.", "Nothing was written. Clear the task that makes it: it starts anew."
            )
        return mark


if TYPE_CHECKING:
    _host: type[ScratchHost] = LiveMongo
    _copy: type[ScratchTarget] = MongoCopy
