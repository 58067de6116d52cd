"""The production database: one file replaces another under its name, and what it replaced is kept beside it.

A file is replaced at once, so that its name always leads to one of the two. Whoever has the old one open finds out when
they write: SQLite refuses to write to a file that was moved.
"""

import getpass
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backup_playbook.core.errors import GuardError, RestoreError
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
from backup_playbook.engines.quarantine import Quarantine, wanted_quarantine
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation
from tests.support.example_engine.copies import SCRATCH, Directory, SqliteScratch
from tests.support.example_engine.database import SUFFIX, Database, Mark, remove_mark, write_mark

QUARANTINE = "quarantine"


@dataclass(frozen=True)
class SqliteLive:
    """See `engines.live_database.LiveDatabase`. host: the directory of production."""

    source: str
    name: str
    host: Directory

    words = ExchangeWords(
        touched="a copy is made beside {live} and proven. Only then it replaces it; {live} becomes {quarantine}.",
        pause="Who writes to it waits for milliseconds; who has it open has to open it again.",
        exchanged="the files were exchanged within {seconds:.2f} s",
        effect="Its file gets the name back.",
    )

    @property
    def database(self) -> Database:
        return self.host.database(self.name)

    def count(self) -> Mapping[str, int]:
        return self.database.count()

    def inspect(self, reader: BackupReader, quarantine: str, leave_out: Sequence[str] = ()) -> Inspection:
        needed, free = reader.manifest.content_bytes, shutil.disk_usage(self.host.path).free
        problems = [f"{quarantine} is there already."] if self.host.database(quarantine).id else []
        problems += [room_remark(free, needed)] if free < needed else []
        self._require_ready(problems)
        return Inspection(self.database.id, [room_remark(free, needed)])

    def side_by_side(self, name: str, owner: str = "", leave_out: Sequence[str] = ()) -> SqliteScratch:
        return self.host.scratch(name, owner)

    def promote(self, exchange: Exchange) -> Promoted:
        live, aside = self.database, self.host.database(exchange.quarantine)
        seconds = 0.0
        if self._state(exchange) != "promoted":
            candidate = self._candidate(exchange)
            self._require_ready()
            with live.open(RestoreError, writable=True) as session:
                # the lock lasts until the session ends: nobody is in the middle of a transaction
                session.execute("PRAGMA locking_mode = EXCLUSIVE")
                session.execute("BEGIN EXCLUSIVE")
                started = time.monotonic()
                write_mark(session, Mark(QUARANTINE, aside.name, self.source, "", exchange.by, exchange.at.isoformat()))
                session.execute("COMMIT")
                status = live.path.stat()
                os.chown(candidate.path, status.st_uid, status.st_gid)
                candidate.path.chmod(status.st_mode & 0o7777)
                if aside.id != live.id:  # else it was linked by an earlier try
                    os.link(live.path, aside.path)
                candidate.path.replace(live.path)
                seconds = time.monotonic() - started
        aside.path.chmod(0o400)
        self._unmark()
        return Promoted(seconds, sessions_ended=0)

    def reopen(self, exchange: Exchange) -> State:
        found = self._state(exchange)
        if found == "closed":
            aside = self.host.database(exchange.quarantine)
            if aside.id == self.database.id:
                aside.path.unlink()
            self._unmark()
        return found

    def require_usable(self) -> None:
        self.count()

    def investigate(self, live: str, quarantine: str, cancellation: Cancellation) -> Investigation:
        before, after = (self.host.database(name).count() for name in (quarantine, live))
        return Investigation(differing(before, after))

    def find_quarantine(self, wanted: str) -> Replaced:
        found = []
        for path in self.host.path.glob(f"*{SUFFIX}"):
            mark = Database(path).mark(QUARANTINE)
            if mark and mark.source == self.source and Database(path).id != self.database.id:
                size = path.stat().st_size
                found.append(Quarantine(mark.name, self.source, self.name, mark.moment, mark.by, bytes=size))
        found.sort(key=lambda one: one.quarantined_at, reverse=True)
        chosen = wanted_quarantine(found, self.source, wanted, str(self.host.path))
        return Replaced(chosen, self.host.database(chosen.name).id, self.database.id)

    def release(self, quarantine: str) -> None:
        if (database := self.host.database(quarantine)).path.exists():
            self.find_quarantine(quarantine)
            database.path.unlink()

    def _state(self, exchange: Exchange) -> State:
        """`closed`: what is live has the mark of a quarantine already; it still takes writes."""
        now = self.database.id
        if now == exchange.candidate_id:
            return "promoted"
        if now != exchange.live_id:
            raise GuardError(
                f"{self.database.path} is neither the file that was planned to be replaced nor the copy.",
                "Nothing was touched. Find out who replaced it, and start a new run.",
            )
        return "closed" if self.database.mark(QUARANTINE, exchange.quarantine) else "before"

    def _candidate(self, exchange: Exchange) -> Database:
        candidate = self.host.database(exchange.candidate)
        mark = candidate.mark(QUARANTINE if exchange.returning else SCRATCH)
        if mark is None or candidate.id != exchange.candidate_id:
            raise GuardError(
                f"{candidate.path} is not the database that was to replace {self.name}.",
                "Nothing was touched. Start a new run.",
            )
        return candidate

    def _require_ready(self, problems: Sequence[str] = ()) -> None:
        """Raise RestoreError that names `problems`, and what else stands in the way of an exchange."""
        user, paths = getpass.getuser(), (self.host.path, self.database.path)
        problems = [*problems, *(f"{user} may not write to {path}." for path in paths if not os.access(path, os.W_OK))]
        with self.database.open(RestoreError) as session:
            if session.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                problems.append(f"{self.database.path} has a write-ahead log: set PRAGMA journal_mode = DELETE.")
        if problems:
            raise RestoreError(" ".join(problems), "Nothing was touched. Correct this, and clear the task.")

    def _unmark(self) -> None:
        with self.database.open(RestoreError, writable=True) as session:
            remove_mark(session)


if TYPE_CHECKING:
    _live: type[LiveDatabase] = SqliteLive
