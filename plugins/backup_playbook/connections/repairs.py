"""The place of a damaged backup, and the repository that has a sound copy of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from backup_playbook.connections.backups import Backups
from backup_playbook.connections.repositories import Repositories
from backup_playbook.core.errors import RepositoryError
from backup_playbook.repository.catalog import Catalog, CatalogEntry


class Repair(NamedTuple):
    """A backup to repair. entry: of the damaged copy; None where the repository has nothing of it."""

    backup_id: str
    damaged: Catalog
    entry: CatalogEntry | None
    sound: Catalog


def find_repair(backups: Backups, wanted: str, where: str) -> Repair:
    """Find what to repair. wanted: a backup id; empty: the newest that is rejected.

    where: `any`, `primary` or `offsite`. An id and a place also mean a verified one: what cannot be read is not
    rejected for that. Raises RepositoryError.
    """
    names, source, asked = backups.names, backups.source, Repositories(backups.config, client=None)
    listed = asked.all(names, lambda catalog: (catalog, {one.backup_id: one for one in catalog.backups(source)}))
    places = [name for name in listed if where == "any" or (name == names[0]) == (where == "primary")]
    if not places:
        raise asked.error(names)
    meant = bool(wanted) and where != "any" and len(places) == 1
    ids = [wanted] if wanted else _rejected(listed[name][1] for name in places)
    for backup_id in ids:
        for name in places:
            catalog, there = listed[name]
            entry = there.get(backup_id)
            if entry and entry.verified and not meant:
                continue
            for other, (sound, copies) in listed.items():
                if other != name and (copy := copies.get(backup_id)) and copy.verified:
                    return Repair(backup_id, catalog, entry, sound)
    raise _nothing(source, ids, places, asked)


def _rejected(listed: Iterable[Mapping[str, CatalogEntry]]) -> list[str]:
    """Ids, newest first."""
    return sorted({name for backups in listed for name, one in backups.items() if one.rejected}, reverse=True)


def _nothing(source: str, ids: list[str], places: list[str], asked: Repositories) -> RepositoryError:
    where = ", ".join(places)
    if not ids:
        return RepositoryError(
            f"No backup of {source} is rejected in {where}.",
            "Nothing was touched. Run daily_backup_verification: it reads backups again. Or name one by its id.",
        )
    away = "".join(f" {name} did not answer: {error.what}" for name, error in asked.failed.items())
    return RepositoryError(
        f"{', '.join(ids)} of {source} cannot be repaired: it is verified in {where}, or no other repository has a "
        f"verified copy of it.{away}",
        "Nothing was touched. If an object of a verified backup cannot be read, name its id and where: primary or "
        "offsite. If it is damaged everywhere, use another backup. A copy that was never verified is read "
        "by daily_backup_verification; then run this again.",
    )
