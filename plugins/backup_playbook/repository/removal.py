"""Removal from a repository: backups that retention no longer keeps, and remains of failed runs.

The manifest goes first: from then on the backup does not exist, and whatever happens next leaves garbage for the sweep,
never a backup with holes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_playbook.core.evidence import Tiered
from backup_playbook.core.naming import backup_time, is_backup_id
from backup_playbook.core.retention import Candidate, RetentionPlan, RetentionPolicy, plan_retention
from backup_playbook.core.tree import current_folder, hashed_folder
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import catalog_folder, manifest_key, objects_folder
from backup_playbook.repository.objects import FIRST_TIER, TIER_TAG
from backup_playbook.repository.store import ObjectStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swept:
    """Remains that a sweep removed."""

    backups: tuple[str, ...] = ()
    """Ids of runs that never sealed their backup, and of removals that were cut short."""
    objects: int = 0
    uploads: int = 0


def plan(catalog: Catalog, source: str, policy: RetentionPolicy, now: datetime) -> RetentionPlan:
    """Plan of retention for the backups of one source; removes nothing."""
    return plan_retention((_candidate(entry, now) for entry in catalog.backups(source)), policy, now)


def _candidate(entry: CatalogEntry, now: datetime) -> Candidate:
    # with a wrong date that has come it stands for no period; retention itself knows those that have not
    counts = entry.taken_at > now or not entry.misdated(now)
    return Candidate(
        backup_id=entry.backup_id,
        taken_at=entry.taken_at,
        verified=counts and entry.verified is not None,
        proven=counts and entry.proven is not None,
        held=entry.held,
        rejected=entry.rejected,
        unequal=entry.unequal,
    )


def apply(catalog: Catalog, source: str, retention: RetentionPlan) -> None:
    """Remove the backups that the plan removes, and tag the others with their tier, for lifecycle rules."""
    entries = {entry.backup_id: entry for entry in catalog.backups(source)}
    for decision in retention.keep:
        entry = entries[decision.backup_id]
        if decision.tier and decision.tier != (entry.tier or FIRST_TIER):
            _set_tier(catalog, entry, decision.tier)
    for decision in retention.remove:
        remove_backup(catalog.store, source, decision.backup_id)


def remove_backup(store: ObjectStore, source: str, backup_id: str) -> int:
    """Remove a backup; returns the number of its objects."""
    store.delete([manifest_key(source, backup_id)])
    count = store.delete([item.key for item in store.list(objects_folder(source, backup_id))])
    store.delete([item.key for item in store.list(catalog_folder(source, backup_id))])
    log.info("Removed %s %s from %s: %d objects.", source, backup_id, store.url, count)
    return count


def sweep(catalog: Catalog, source: str, grace: timedelta, now: datetime) -> Swept:
    """Remove objects, evidence and unfinished uploads without a manifest that have not changed for `grace`.

    Uploads of large files go to the current state. A part of a running one is younger than `grace`, whoever sends it.
    """
    store = catalog.store
    entries = {entry.backup_id: entry for entry in catalog.entries(source)}
    started = {name for name in store.folders(objects_folder(source)) if is_backup_id(name)}
    unsealed = sorted(name for name in started | entries.keys() if name not in entries or not entries[name].sealed)
    uploads = 0
    folders = (objects_folder(source), current_folder(source), hashed_folder(source))
    for upload in [upload for folder in folders for upload in store.unfinished_uploads(folder)]:
        if upload.last_activity < now - grace:
            store.abort_upload(upload.key, upload.upload_id)
            uploads += 1
    stale = [backup_id for backup_id in unsealed if _newest_change(store, source, backup_id) < now - grace]
    objects = sum(remove_backup(store, source, backup_id) for backup_id in stale)
    return Swept(tuple(stale), objects, uploads)


def _newest_change(store: ObjectStore, source: str, backup_id: str) -> datetime:
    """Time of the last write: a backup in progress writes all the time, however long ago it began."""
    folders = (objects_folder(source, backup_id), catalog_folder(source, backup_id))
    times = [item.modified for folder in folders for item in store.list(folder)]
    uploads = [item.last_activity for item in store.unfinished_uploads(folders[0])]
    return max([backup_time(backup_id), *times, *uploads])


def _set_tier(catalog: Catalog, entry: CatalogEntry, tier: str) -> None:
    for item in catalog.store.list(objects_folder(entry.source, entry.backup_id)):
        catalog.store.set_tags(item.key, {TIER_TAG: tier})
    catalog.add_evidence(entry.source, entry.backup_id, Tiered(tier=tier), qualifier=tier)
