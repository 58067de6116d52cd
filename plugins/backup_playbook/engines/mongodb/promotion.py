"""Promotion: the collections of a set replace the live ones, while clients go on.

Each collection is renamed at once; all of them together are not. The names tell what has happened, and the mark of the
quarantine which way it goes: a run that died is completed by the next try, or rolled back by `reopen`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Literal

from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from backup_playbook.core.errors import GuardError, PlaybookError, RestoreError
from backup_playbook.core.promotion import Promoted
from backup_playbook.core.promotion import State as Outcome
from backup_playbook.engines.mongodb.collections import (
    NEVER,
    TTL,
    Collection,
    in_set,
    list_collections,
    list_indexes,
    to_json,
)
from backup_playbook.engines.mongodb.connection import HAS_NONE, Document, MongoServer
from backup_playbook.engines.mongodb.legacy import up_to_date
from backup_playbook.engines.mongodb.sets import (
    CollectionSet,
    Expiry,
    collections_of,
    forget_set,
    read_sets,
    save_set,
    views_of,
)

log = logging.getLogger(__name__)

ATTEMPTS = 20
_EXISTS = 48

State = Literal["before", "half", "promoted"]


@dataclass(frozen=True)
class MongoPromotion:
    """Promotion of the set `candidate`; the live collections become the set `quarantine`. by: the run.

    live_id: what was live when this was planned, from `quarantine.mark_live`. Collections that applications make and
    drop since then do not matter; another exchange does.
    """

    server: MongoServer
    live_id: str
    candidate: str
    quarantine: str
    source: str
    by: str
    now: datetime

    def run(self) -> Promoted:
        """Promote the candidate; can be repeated.

        Raises GuardError when it is not what was proven, or replaces another than was planned, RestoreError
        otherwise. The live collections then are as they were, unless the error says that they are not.
        """
        with self.server.connect() as database:
            took = 0.0
            if (state := self.state(database)) != "promoted":  # by an earlier try
                self._require_proven(database, state)
                started = time.monotonic()
                try:
                    self._promote(database)
                except (PyMongoError, RestoreError) as error:
                    raise self._rolled_back(database, error) from error
                took = time.monotonic() - started
            forget_set(database, self.candidate)
            return Promoted(took, 0)

    def reopen(self) -> Outcome:
        """Roll back what a run that died left half done. Returns what is live then."""
        with self.server.connect() as database:
            state = self.state(database)
            if state == "half":
                self._roll_back(database)
        return "promoted" if state == "promoted" else "before"

    def state(self, database: Database[Document]) -> State:
        """Tell how far a promotion came. Raises GuardError when its sets are gone, or another one came first."""
        sets = read_sets(database)
        if quarantine := sets.get(self.quarantine):
            return "half" if quarantine.exchanged_with else "promoted"
        if self.candidate not in sets:
            raise GuardError(
                f"{self.server.label} has no set {self.candidate}: another recovery, or a person, has moved or dropped "
                "it.",
                "Nothing was touched. Look at the marks (db.backup_playbook_sets.find()), and start a new run.",
            )
        self._require_planned(sets.values())
        return "before"

    def _require_planned(self, sets: Iterable[CollectionSet]) -> None:
        planned = (self.candidate, *self.live_id.split())
        later = (one for one in sets if one.kind == "quarantine" and one.name not in planned)
        if one := next(later, None):
            raise GuardError(
                f"The collections of {self.server.label} are not those that this run has seen at its start: the run "
                f"{one.owner} has replaced them since, and has set aside in {one.name} what they were.",
                f"Nothing was touched. If they are still to be replaced, start a new run for {self.server.database}.",
            )

    def _require_proven(self, database: Database[Document], state: State) -> None:
        proven, there = read_sets(database)[self.candidate].collections, collections_of(database, self.candidate)
        # without UUIDs (very old servers), the names have to do; what an earlier try has moved is not there any more
        strange = sorted(name for name, uuid in there.items() if proven.get(name) != uuid)
        if not proven or strange or (state == "before" and proven.keys() != there.keys()):
            raise GuardError(
                f"{self.candidate} in {self.server.label} is not what was proven: "
                f"{', '.join(strange) or 'collections are missing'}.",
                "Nothing was touched. Start a new run: it makes the copy anew.",
            )

    def _promote(self, database: Database[Document]) -> None:
        sets = read_sets(database)
        candidate, quarantine = sets[self.candidate], sets.get(self.quarantine)
        live = list_collections(database, candidate.left_out)
        if quarantine is None:
            names = {item.name: item.uuid for item in live if not item.is_view}
            quarantine = CollectionSet(
                self.quarantine, "quarantine", self.source, self.by, self.now, candidate.backup_id, names,
                views_of(live), _expiring(database, live), self.candidate, left_out=candidate.left_out,
            )  # fmt: skip
            save_set(database, quarantine)
        _drop_views(database, live, candidate.definitions)
        waiting = collections_of(database, self.candidate)
        moved = candidate.collections.keys() - waiting.keys()  # by an earlier try
        for name in sorted({*quarantine.collections, *waiting} - moved):
            self._promote_one(database, name, replaced=name in waiting)
        _create_views(database, candidate.definitions)
        _expire(database, candidate.ttl)
        _expire(database, ((in_set(self.quarantine, name), index, NEVER) for name, index, _ in quarantine.ttl))
        for late in read_sets(database).values():
            if late.kind == "late":
                save_set(database, replace(late, quarantine=self.quarantine))
        set_aside = collections_of(database, self.quarantine)
        save_set(database, replace(quarantine, collections=set_aside, exchanged_with=""))

    def _promote_one(self, database: Database[Document], name: str, *, replaced: bool) -> None:
        """Promote one collection; clients may make it anew meanwhile. replaced: the candidate has one, too."""
        for _ in range(ATTEMPTS):
            if _exists(database, name) and not _rename(database, name, in_set(self.quarantine, name)):
                self._keep_late(database, name)
            if not replaced or _rename(database, in_set(self.candidate, name), name):
                return
        raise RestoreError(
            f"Clients make {name} anew faster than it can be promoted.",
            "Switch the application's maintenance mode on, or stop it; then clear this task.",
        )

    def _keep_late(self, database: Database[Document], name: str) -> None:
        """Set aside what clients wrote while the name was free."""
        mark = CollectionSet("", "late", self.source, self.by, self.now, quarantine=self.quarantine)
        kept = _set_aside(database, name, name, mark)
        log.warning("Clients wrote to %s while it was promoted: what they wrote is in %s.", name, kept)

    def _roll_back(self, database: Database[Document]) -> None:
        sets = read_sets(database)
        candidate, quarantine = sets[self.candidate], sets[self.quarantine]
        _drop_views(database, list_collections(database, candidate.left_out), quarantine.definitions)
        set_aside, waiting = (collections_of(database, name) for name in (self.quarantine, self.candidate))
        exposed = tuple(sorted({*candidate.exposed, *(candidate.collections.keys() - waiting.keys())}))
        save_set(database, replace(candidate, exposed=exposed, quarantine=self.quarantine))
        for name in sorted({*set_aside, *candidate.collections}):
            if name in candidate.collections and name not in waiting:
                _rename(database, name, in_set(self.candidate, name))
            if name in set_aside:
                self._give_back(database, name)
        _expire(database, quarantine.ttl)
        _create_views(database, quarantine.definitions)
        forget_set(database, self.quarantine)

    def _give_back(self, database: Database[Document], name: str) -> None:
        """Rename a collection back; set aside what clients made under its name meanwhile. Raises RestoreError."""
        for _ in range(ATTEMPTS):
            if _rename(database, in_set(self.quarantine, name), name):
                return
            self._keep_late(database, name)
        raise RestoreError(
            f"Clients make {name} anew faster than it can be given back; its documents are in "
            f"{in_set(self.quarantine, name)}.",
            "Switch the application's maintenance mode on, or stop it; then clear this task.",
        )

    def _rolled_back(self, database: Database[Document], error: Exception) -> RestoreError:
        """Roll back after an error, and say whether that worked."""
        what = error.what if isinstance(error, PlaybookError) else str(error).partition(", full error:")[0]
        left, remedy = "It is as it was.", "Correct what the message names, and clear this task."
        try:
            if self.state(database) == "half":
                self._roll_back(database)
        except (PyMongoError, PlaybookError) as again:
            left = f"PRODUCTION IS HALF PROMOTED, and could not be taken back: {again}"
            remedy = "Clear this task as soon as the server answers: it goes on where it was."
        return RestoreError(f"{self.server.label} could not be promoted: {what}. {left}", remedy)


def keep_exposed(database: Database[Document], scratch: CollectionSet) -> None:
    """Set aside the collections of a scratch that clients may have written to; the next quarantine has them, too."""
    late = replace(scratch, kind="late", collections={}, views=(), ttl=(), exposed=())
    there = collections_of(database, scratch.name)
    for name in (name for name in scratch.exposed if name in there):
        kept = _set_aside(database, in_set(scratch.name, name), name, late)
        log.warning("%s was live until its promotion was taken back; what clients wrote to it is in %s.", name, kept)


def _set_aside(database: Database[Document], collection: str, name: str, mark: CollectionSet) -> str:
    """Move a collection into the set of what came late for a quarantine. Returns its new name."""
    late = mark.quarantine.replace("__quarantine_", "__late_")
    save_set(database, replace(mark, name=late))
    return next(kept for number in count(1) if _rename(database, collection, kept := in_set(late, f"{name}.{number}")))


def _expiring(database: Database[Document], live: Iterable[Collection]) -> tuple[Expiry, ...]:
    found = ((item.name, index) for item in live for index in up_to_date(_indexed(database, item)).indexes)
    return tuple((name, index["name"], index[TTL]) for name, index in found if TTL in index)


def _indexed(database: Database[Document], collection: Collection) -> Collection:
    return replace(collection, indexes=list_indexes(database, collection))


def _expire(database: Database[Document], indexes: Iterable[Expiry]) -> None:
    for collection, name, seconds in indexes:
        try:
            database.command({"collMod": collection, "index": {"name": name, TTL: seconds}})
        except OperationFailure as error:
            if error.code != HAS_NONE:  # then nothing expires there
                raise


def _drop_views(database: Database[Document], live: Iterable[Collection], wanted: Iterable[Collection]) -> None:
    """Drop the views that are not wanted as they are. Their definitions are in a mark."""
    for view in _missing(wanted=(item for item in live if item.is_view), there=wanted):
        database.drop_collection(view.name)


def _create_views(database: Database[Document], wanted: Iterable[Collection]) -> None:
    for view in _missing(wanted, there=list_collections(database)):
        database.command({"create": view.name, **view.options})


def _missing(wanted: Iterable[Collection], there: Iterable[Collection]) -> Iterator[Collection]:
    # compared as text: in a pipeline the order of fields means something
    options = {item.name: to_json(item.options) for item in there if item.is_view}
    return (view for view in wanted if options.get(view.name) != to_json(view.options))


def _exists(database: Database[Document], name: str) -> bool:
    return name in database.list_collection_names(filter={"name": name})


def _rename(database: Database[Document], old: str, new: str) -> bool:
    """Rename for good, elections included. False: there is a `new` one already."""
    command = {"renameCollection": f"{database.name}.{old}", "to": f"{database.name}.{new}"}
    try:
        database.client.admin.command({**command, "writeConcern": {"w": "majority"}})
    except OperationFailure as error:
        if error.code == _EXISTS:
            return False
        raise
    return True
