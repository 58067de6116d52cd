"""What a restored copy must never be written over, and what must never be dropped.

A Postgres database is recognised by its server's system identifier and its own oid, a MongoDB database by the UUIDs of
its collections, whatever host name or port leads there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from backup_playbook.core.errors import GuardError


@dataclass(frozen=True)
class DatabaseIdentity:
    """system_identifier: of the server, made by initdb. name: for messages; it takes no part in the comparison."""

    system_identifier: str
    database_oid: int
    name: str

    def is_same(self, other: DatabaseIdentity) -> bool:
        return (self.system_identifier, self.database_oid) == (other.system_identifier, other.database_oid)


def require_not_production(candidate: DatabaseIdentity, production: Iterable[DatabaseIdentity]) -> None:
    """Raise GuardError when `candidate`, which is about to be written to or dropped, is one of `production`."""
    for protected in production:
        if candidate.is_same(protected):
            raise GuardError(
                f"The database {candidate.name} is the production database {protected.name}: both have oid "
                f"{candidate.database_oid} on the server {candidate.system_identifier}, whatever their addresses say.",
                "Nothing was touched. Correct the Airflow connection that `target` of this source leads to.",
            )


@dataclass(frozen=True)
class CollectionsIdentity:
    """collections: UUIDs, which all members of a replica set share and no copy has. name: for messages."""

    name: str
    collections: frozenset[str]


def require_no_production_collections(
    candidate: CollectionsIdentity, production: Iterable[CollectionsIdentity]
) -> None:
    """Raise GuardError when a collection of `candidate`, about to be written to or dropped, is of `production`."""
    for protected in production:
        if candidate.collections & protected.collections:
            raise GuardError(
                f"The database {candidate.name} is the production database {protected.name}: they have collections "
                "with the same UUIDs, whatever their addresses say.",
                "Nothing was touched. Correct the Airflow connection that `target` of this source leads to.",
            )
