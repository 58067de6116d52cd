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
    """kind: `late` is what clients made anew in the moment of an exchange. owner: the run that made it.

    collections: UUIDs by name without prefix, once they are proven or complete. views: as Collection.to_json.
    ttl: when documents of a quarantine expired before; in it, nothing does.
    exchanged_with: of a quarantine, while the exchange with this set goes on. quarantine: of what is late.
    exposed: collections of a scratch that were live until their exchange was taken back: clients may have written to
    them, so that they are kept when the scratch is dropped.
    left_out: of the backup by the source's `leave_out`; an exchange leaves these collections where they are.
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
        """Of its views."""
        return [Collection.from_json(text.encode()) for text in self.views]


def read_sets(database: Database[Document]) -> dict[str, CollectionSet]:
    """By name, the newest last."""
    marks = (_from_mark(mark) for mark in _marks(database).find())
    return {one.name: one for one in sorted(marks, key=lambda one: one.created_at)}


def save_set(database: Database[Document], one: CollectionSet) -> None:
    body: dict[str, Any] = {key: value for key, value in asdict(one).items() if key != "name"}
    # names of collections have dots, which older servers refuse as names of fields
    body |= {"created_at": one.created_at.isoformat(), "collections": list(map(list, one.collections.items()))}
    _marks(database).replace_one({"_id": one.name}, body, upsert=True)


def forget_set(database: Database[Document], name: str) -> None:
    """Where nothing is in use any more, nothing of ours stays."""
    _marks(database).delete_one({"_id": name})
    if _marks(database).find_one() is None:
        database.drop_collection(SETS)


def drop_set(database: Database[Document], name: str) -> None:
    for collection in list_collections(database, within=name):
        database.drop_collection(collection.name)
    forget_set(database, name)


def collections_of(database: Database[Document], name: str) -> dict[str, str]:
    """UUIDs by name, without prefix."""
    return {item.name.partition(".")[2]: item.uuid for item in list_collections(database, within=name)}


def views_of(found: Iterable[Collection]) -> tuple[str, ...]:
    return tuple(item.to_json().decode() for item in found if item.is_view)


def _marks(database: Database[Document]) -> DriverCollection[Document]:
    """No election may take back what was written."""
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
