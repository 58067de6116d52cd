"""The production database of a MongoDB source: counted, replaced by the collections of a copy, and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backup_playbook.core.promotion import Promoted, State
from backup_playbook.core.words import ExchangeWords
from backup_playbook.engines.live_database import (
    Exchange,
    Inspection,
    Investigation,
    LiveDatabase,
    Replaced,
    differing,
    room_remark,
)
from backup_playbook.engines.mongodb.archive import left_out
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.counts import count_documents, count_exchanged
from backup_playbook.engines.mongodb.details import MongoDetails
from backup_playbook.engines.mongodb.preflight import inspect_live
from backup_playbook.engines.mongodb.promotion import MongoPromotion
from backup_playbook.engines.mongodb.quarantine import drop_quarantine, find_quarantine, mark_live
from backup_playbook.engines.mongodb.side_by_side import LiveMongo, MongoCopy
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

EXPIRES = "Nothing expires in the quarantine; after rollback_promotion it does again."
STREAMS = "Change streams on the collections end when these are renamed."

_WORDS = ExchangeWords(
    touched="a copy is made in {live}, under other names, and proven. Only then its collections take the live names; "
    "those of now are kept unchanged, under names that begin with {quarantine}.",
    pause="Each collection is then renamed, in milliseconds; what clients write in its moment is kept apart.",
    exchanged="the collections were exchanged within {seconds:.2f} s, one after another",
    effect="Its collections are renamed, one after another.",
)


@dataclass(frozen=True)
class MongoLive:
    """See `engines.live_database.LiveDatabase`. Sets have their own marks: only what is live needs one, `mark_live`.

    server: the database, as the user who may write to it. readable: as the user who backs it up. streams: how many
    load a copy at once.
    """

    source: str
    server: MongoServer
    readable: MongoServer
    streams: int = 2

    words = _WORDS

    @property
    def name(self) -> str:
        """Name of the database."""
        return self.server.database

    @property
    def host(self) -> LiveMongo:
        """Place of copies beside the live database."""
        return LiveMongo(self.server)

    def count(self) -> dict[str, int]:
        """Count documents by `database.collection`, gently. Raises SourceError."""
        return count_documents(self.readable)

    def inspect(
        self,
        reader: BackupReader,
        quarantine: str,
        leave_out: Sequence[str] = (),  # noqa: ARG002 - of the contract
    ) -> Inspection:
        """Look whether a copy of this backup can replace the live database. Raises RestoreError."""
        manifest = reader.manifest
        free = inspect_live(self.server, manifest, quarantine)
        stays = (f"{name} is not in backups, and stays as it is." for name in MongoDetails.of(manifest).left_out)
        return Inspection(mark_live(self.server), (
            room_remark(free, manifest.content_bytes),
            f"No copy has these: {', '.join(left_out(manifest))}.",
            *stays,
            EXPIRES,
            STREAMS,
        ))  # fmt: skip

    def side_by_side(
        self,
        name: str,
        owner: str = "",
        leave_out: Sequence[str] = (),  # noqa: ARG002 - of the contract
    ) -> MongoCopy:
        """Return a copy that can replace the live database."""
        return MongoCopy(self.host, name, owner, self.streams)

    def promote(self, exchange: Exchange) -> Promoted:
        """Exchange the live database and the candidate; can be repeated. Raises GuardError, RestoreError."""
        return self._promotion(exchange).run()

    def reopen(self, exchange: Exchange) -> State:
        """Mend what a killed `promote` left; return what was found. Raises GuardError."""
        return self._promotion(exchange).reopen()

    def require_usable(self) -> None:
        """Raise PlaybookError when production cannot be read."""
        self.count()

    def investigate(self, live: str, quarantine: str, cancellation: Cancellation) -> Investigation:
        """Compare numbers of documents; MongoDB has no checker that runs beside clients."""
        before, after = count_exchanged(self.server.at(live), quarantine)
        cancellation.check()
        return Investigation(differing(before, after))

    def find_quarantine(self, wanted: str) -> Replaced:
        """Find a quarantine by its name, or the newest. Raises GuardError when there is none."""
        live_id = mark_live(self.server)
        return Replaced(find_quarantine(self.server, self.source, wanted), "", live_id)

    def release(self, quarantine: str) -> None:
        """Drop a quarantine for good. Raises GuardError when it is none of this source."""
        drop_quarantine(self.server, self.source, quarantine)

    def _promotion(self, exchange: Exchange) -> MongoPromotion:
        return MongoPromotion(
            self.server,
            exchange.live_id,
            exchange.candidate,
            exchange.quarantine,
            self.source,
            exchange.by,
            exchange.at,
        )


if TYPE_CHECKING:
    _live: type[LiveDatabase] = MongoLive
