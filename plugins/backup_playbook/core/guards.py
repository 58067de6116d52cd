"""Guards against writing to production, or dropping it.

A database is recognised by its server's identity and its own number, collections by their UUIDs, whatever host name or
port leads there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from backup_playbook.core.errors import GuardError


@dataclass(frozen=True)
class DatabaseIdentity:
    """Identity of a database on its server.

    system_identifier: made when the server was set up. name: for messages; it takes no part in the comparison.
    """

    system_identifier: str
    database_oid: int
    name: str

    def is_same(self, other: DatabaseIdentity) -> bool:
        """Whether both are one database."""
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
    """Identity of a database by its collections.

    collections: UUIDs, which all members of a replica set share and no copy has. name: for messages.
    """

    name: str
    collections: frozenset[str]


def require_no_production_collections(
    candidate: CollectionsIdentity, production: Iterable[CollectionsIdentity]
) -> None:
    """Raise GuardError when `candidate`, about to be written to or dropped, has a collection of `production`."""
    for protected in production:
        if candidate.collections & protected.collections:
            raise GuardError(
                f"The database {candidate.name} is the production database {protected.name}: they have collections "
                "with the same UUIDs, whatever their addresses say.",
                "Nothing was touched. Correct the Airflow connection that `target` of this source leads to.",
            )
