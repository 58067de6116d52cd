"""The production database of a Postgres source: counted, replaced by a copy on its own server, and brought back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backup_playbook.core.errors import GuardError, PlaybookError, VerificationError
from backup_playbook.core.guards import DatabaseIdentity
from backup_playbook.core.promotion import Promoted, State
from backup_playbook.core.words import ExchangeWords, counted
from backup_playbook.engines.contract import CopyOptions
from backup_playbook.engines.live_database import (
    Exchange,
    Inspection,
    Investigation,
    LiveDatabase,
    Replaced,
    differing,
    room_remark,
)
from backup_playbook.engines.postgres.connection import PostgresServer, identity
from backup_playbook.engines.postgres.excluded import recomputed_by
from backup_playbook.engines.postgres.investigation import (
    amcheck,
    log_excerpt,
    opened,
    read_every_table,
    what_would_run,
)
from backup_playbook.engines.postgres.partial import read_part
from backup_playbook.engines.postgres.promotion import Promotion
from backup_playbook.engines.postgres.quarantine import drop_quarantine, find_quarantine
from backup_playbook.engines.postgres.recovery_preflight import inspect_live, require_restorable
from backup_playbook.engines.postgres.row_counts import count_rows
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer
from backup_playbook.engines.postgres.swap import Swap
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)

_WORDS = ExchangeWords(
    touched="a copy is made on the server of {live}, proven and checked. Only then it takes the live name; what is "
    "live now becomes {quarantine}, closed and unchanged.",
    pause="The live name refuses connections for less than two seconds, when the two are exchanged.",
    exchanged="the live name refused connections for {seconds:.2f} s; {sessions} sessions were ended",
    effect="All connections are ended.",
)


@dataclass(frozen=True)
class PostgresLive:
    """See `engines.live_database.LiveDatabase`.

    server: as the role that may exchange databases, at MAINTENANCE_DATABASE. readable: the database itself, as the
    role that backs it up. production: see `ScratchServer`. streams: how many load a copy at once.
    """

    source: str
    name: str
    server: PostgresServer
    readable: PostgresServer
    production: Callable[[], Sequence[DatabaseIdentity]]
    streams: int = 2

    words = _WORDS

    @property
    def host(self) -> ScratchServer:
        """Place of copies beside the live database."""
        return ScratchServer(self.server, self.production, self.streams)

    def count(self) -> dict[str, int]:
        """Count rows by `schema.table`, gently. Raises SourceError."""
        return count_rows(self.readable)

    def inspect(
        self,
        reader: BackupReader,
        quarantine: str,  # noqa: ARG002 - of the contract; it always fits
        leave_out: Sequence[str] = (),
    ) -> Inspection:
        """Look whether a copy of this backup can replace the live database. Raises RestoreError."""
        manifest = reader.manifest
        found = inspect_live(self.server, self.name, manifest.content_bytes)
        try:
            part = read_part(reader, leave_out=leave_out)
        except VerificationError as error:  # another backup may be chosen
            lacks = [f"Its definitions cannot be read: {error.what}"]
        else:
            require_restorable(self.server, manifest, part.definitions(owners=True))
            lacks = [f"No copy has these: {', '.join(part.left_out)}."] if part.left_out else []
        if anew := recomputed_by(manifest):
            lacks.append(f"Computed anew in the copy, and not compared: {', '.join(anew)}.")
        return Inspection(str(found.oid), (*found.remarks, room_remark(found.free, found.bytes), *lacks))

    def side_by_side(self, name: str, owner: str = "", leave_out: Sequence[str] = ()) -> ScratchDatabase:
        """Return a copy that can replace the live database."""
        return self.host.scratch(name, owner, CopyOptions(leave_out=leave_out, owners=True))

    def promote(self, exchange: Exchange) -> Promoted:
        """Exchange the live database and the candidate; can be repeated. Raises GuardError, RestoreError."""
        return self._promotion(exchange).run()

    def reopen(self, exchange: Exchange) -> State:
        """Mend what a killed `promote` left; return what was found. Raises GuardError."""
        return self._promotion(exchange).reopen()

    def require_usable(self) -> None:
        """Raise PlaybookError when production cannot be read."""
        unreadable = read_every_table(self.readable, whole=False).unreadable
        if unreadable:
            table, why = next(iter(unreadable.items()))
            raise PlaybookError(
                f"The recovery failed, and production cannot be used: {counted(len(unreadable), 'table')} "
                f"cannot be read, such as {table}: {why}",
                "Clear the first red task of the run to try again. If users are to be served, switch maintenance "
                "mode off manually.",
            )

    def investigate(self, live: str, quarantine: str, cancellation: Cancellation) -> Investigation:
        """See also `investigation`: the quarantine is open only while it is read."""
        excerpt = log_excerpt(self.server)
        logged = excerpt.get("lines") or excerpt["why"]
        if running := what_would_run(self.server, quarantine):
            why = f"not asked: opened, it would go on with its subscriptions {', '.join(running)}"
            log.warning("The quarantine was not looked into; pg_amcheck: %s.", why)
            return Investigation(amcheck=why, log=logged)
        after = read_every_table(self.server.at(live), whole=True).rows
        with opened(self.server, quarantine) as server:
            before = read_every_table(server, whole=True)
            damage = amcheck(server, cancellation)
        for table, why in before.unreadable.items():
            log.warning("%s cannot be read in the quarantine: %s", table, why)
        return Investigation(differing({**before.rows, **before.unreadable}, after), damage, logged)

    def find_quarantine(self, wanted: str) -> Replaced:
        """Find a quarantine by its name, or the newest. Raises GuardError when there is none."""
        with self.server.connect(autocommit=True) as connection:
            found = find_quarantine(connection, self.source, wanted, self.server.label)
            kept, live = identity(connection, found.name), identity(connection, found.live)
        if kept is None or live is None:
            raise GuardError(
                f"{found.name} was {found.live}, and there is no database {found.live} now.",
                f"Nothing was touched. If it was renamed manually, rename it back to {found.live}.",
            )
        return Replaced(found, str(kept.database_oid), str(live.database_oid))

    def release(self, quarantine: str) -> None:
        """Drop a quarantine for good. Raises GuardError when it is none of this source."""
        drop_quarantine(self.server, self.source, quarantine, self.production)

    def _promotion(self, exchange: Exchange) -> Promotion:
        swap = Swap(
            exchange.live, int(exchange.live_id), exchange.candidate, int(exchange.candidate_id), exchange.quarantine
        )
        return Promotion(self.server, swap, self.source, exchange.by, exchange.at, exchange.returning)


if TYPE_CHECKING:
    _live: type[LiveDatabase] = PostgresLive
