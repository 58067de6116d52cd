"""Sets of collections in a live database: a copy that waits to go live, and what was live before.

MongoDB renames no databases, and collections only within one. So a copy is made in the live database itself, and a
set is a prefix: `scratch_shop_1f3a9c02.orders` is the collection `orders` of the set `scratch_shop_1f3a9c02`. A mark in
the collection SETS tells that a prefix is one of ours: without it, a name means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from pymongo.collection import Collection as DriverCollection
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from backup_playbook.engines.mongodb.collections import SETS, Collection, list_collections
from backup_playbook.engines.mongodb.connection import Document

Expiry = tuple[str, str, int]
"""Collection, index, and seconds."""


@dataclass(frozen=True)
class CollectionSet:
    """Mark of a set. kind: `late` is what clients made anew during a promotion. owner: the run that made it.

    collections: UUIDs by name without prefix, once proven or complete. views: as Collection.to_json.
    ttl: expiry that the documents of a quarantine had before; in it, nothing expires.
    exchanged_with: the set that replaces a quarantine, until its promotion ends. quarantine: the one of a late set.
    exposed: collections of a scratch that were live until their promotion was rolled back. Clients may have written
    to them: they are set aside when the scratch is dropped.
    left_out: collections that the backup left out; a promotion leaves them where they are.
    """

    name: str
    kind: Literal["scratch", "quarantine", "late"]
    source: str
    owner: str
    created_at: datetime
    backup_id: str = ""
    collections: Mapping[str, str] = field(default_factory=dict)
    views: tuple[str, ...] = ()
    ttl: tuple[Expiry, ...] = ()
    exchanged_with: str = ""
    quarantine: str = ""
    left_out: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()

    @property
    def definitions(self) -> list[Collection]:
        """Definitions of its views."""
        return [Collection.from_json(text.encode()) for text in self.views]


def read_sets(database: Database[Document]) -> dict[str, CollectionSet]:
    """Read all marks by name, the newest last."""
    marks = (_from_mark(mark) for mark in _marks(database).find())
    return {one.name: one for one in sorted(marks, key=lambda one: one.created_at)}


def save_set(database: Database[Document], one: CollectionSet) -> None:
    """Write the mark of a set."""
    body: dict[str, Any] = {key: value for key, value in asdict(one).items() if key != "name"}
    # names of collections have dots, which older servers refuse as names of fields
    body |= {"created_at": one.created_at.isoformat(), "collections": list(map(list, one.collections.items()))}
    _marks(database).replace_one({"_id": one.name}, body, upsert=True)


def forget_set(database: Database[Document], name: str) -> None:
    """Remove the mark of a set; with the last one, the collection of marks goes too."""
    _marks(database).delete_one({"_id": name})
    if _marks(database).find_one() is None:
        database.drop_collection(SETS)


def drop_set(database: Database[Document], name: str) -> None:
    """Drop a set with its collections."""
    for collection in list_collections(database, within=name):
        database.drop_collection(collection.name)
    forget_set(database, name)


def collections_of(database: Database[Document], name: str) -> dict[str, str]:
    """Return the UUIDs of a set's collections by name without prefix."""
    return {item.name.partition(".")[2]: item.uuid for item in list_collections(database, within=name)}


def views_of(found: Iterable[Collection]) -> tuple[str, ...]:
    """Write the definitions of all views, as `CollectionSet.views` has them."""
    return tuple(item.to_json().decode() for item in found if item.is_view)


def _marks(database: Database[Document]) -> DriverCollection[Document]:
    """Open the collection of marks; elections keep what is written to it."""
    return database.get_collection(SETS, write_concern=WriteConcern("majority"))


def _from_mark(mark: Document) -> CollectionSet:
    body = {key: value for key, value in mark.items() if key != "_id"}
    body |= {"created_at": datetime.fromisoformat(body["created_at"]), "collections": dict(body["collections"])}
    body |= {
        "views": tuple(body["views"]),
        "left_out": tuple(body.get("left_out", ())),
        "exposed": tuple(body.get("exposed", ())),
        "ttl": tuple(map(tuple, body["ttl"])),
    }
    return CollectionSet(name=mark["_id"], **body)
