"""Facts for `core.recovery_points`: listings, and the manifest of each backup that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backup_playbook.core.details import data_bytes, shares_contents
from backup_playbook.core.recovery_points import (
    Contents,
    RecoveryPoint,
    RecoveryPoints,
    estimated,
    newest_points,
    restore_rate,
)
from backup_playbook.engines.contract import Engine
from backup_playbook.engines.survey import OpenCatalog, Survey, newest_restores, survey
from backup_playbook.repository.layout import objects_folder


def find_recovery_points(
    source: str, repositories: Sequence[str], open_catalog: OpenCatalog, engine: Engine, now: datetime
) -> RecoveryPoints:
    """Find and describe the newest recovery points of a source. Unreadable repositories are named in the result.

    repositories: the primary one first.
    """
    seen = survey(source, repositories, open_catalog)
    rate = restore_rate(newest_restores(seen))
    points = newest_points(source, seen.listed, repositories[1:], now)
    described = {kind: _describe(seen, engine, point, rate) for kind, point in points.newest.items()}
    unreadable = {name: trouble.what for name, trouble in seen.unreadable.items()}
    return replace(points, newest=described, unreadable=unreadable)


def _describe(seen: Survey, engine: Engine, point: RecoveryPoint, rate: float | None) -> RecoveryPoint:
    for repository in point.sound_in or point.states:
        if manifest := seen.manifest(repository, point.backup_id):
            largest = max(manifest.objects, key=lambda item: item.stored_bytes, default=None)
            storage_class = "STANDARD"
            with seen.asking(repository):
                if largest:
                    key = objects_folder(seen.source, point.backup_id) + largest.name
                    storage_class = seen.catalogs[repository].store.storage_class(key)
            contents = Contents(
                engine.summary(manifest), len(manifest.tables), manifest.rows, data_bytes(manifest),
                None if shares_contents(manifest) else manifest.stored_bytes, storage_class,
            )  # fmt: skip
            return replace(point, contents=contents, restore=estimated(contents, rate))
    return point
