"""The choice of a backup and of a repository. One that is unreachable, or has no good copy, is passed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from backup_playbook.connections.backups import Backups
from backup_playbook.connections.repositories import Repositories
from backup_playbook.core.details import shows_until
from backup_playbook.core.errors import PlaybookError, VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.core.recovery_points import NoSuchBackupError, choose_backup, is_sound
from backup_playbook.repository.catalog import Catalog, CatalogEntry


class _Found(NamedTuple):
    """damaged: what is wrong with newer ones, which nothing has rejected yet."""

    entry: CatalogEntry
    manifest: Manifest
    damaged: list[PlaybookError]


@dataclass(frozen=True)
class Choice:
    """A chosen backup. remark: why it is not from the first repository, or not the newest there; else empty."""

    repository: str
    entry: CatalogEntry
    manifest: Manifest
    remark: str


def find_backup(
    backups: Backups,
    order: Sequence[Sequence[str]],
    wanted: str,
    before: datetime | None,
    *,
    now: datetime,
    allow_unverified: bool,
    allow_damaged: bool = False,
) -> Choice:
    """Find the backup to restore. wanted, now, allow_...: as of choose_backup. before: nothing in it happened later.

    order: of Access.reading_order. Raises PlaybookError.
    """
    asked, expected = Repositories(backups.config), order[0][0]

    def choose(catalog: Catalog) -> _Found:
        entries, until = catalog.backups(backups.source), before
        damaged: list[PlaybookError] = []
        while True:
            try:
                entry = choose_backup(
                    entries, wanted, until, now=now, allow_unverified=allow_unverified, allow_damaged=allow_damaged
                )
            except NoSuchBackupError as error:
                raise (damaged or [error])[0] from None
            by_id = wanted == entry.backup_id
            manifest = _manifest(catalog, entry, None if by_id else damaged)
            if manifest and (before is None or by_id or shows_until(manifest) < before):
                return _Found(entry, manifest, damaged)
            until = entry.taken_at  # it was begun before that moment, and may show what happened after it

    for group in order:
        found = asked.all(group, choose)
        # of equal ones, max() takes the first
        if name := max(found, key=lambda name: _rank(found[name][0], now), default=""):
            entry, manifest, damaged = found[name]
            remark = " ".join(f"A newer one in {name} was passed over: {error.what}" for error in damaged)
            if name != expected:
                why = asked.failed[expected].what if expected in asked.failed else _beside(found[expected][0], entry)
                remark = f"Read from {name}, and not from {expected}: {why} {remark}".rstrip()
            return Choice(name, entry, manifest, remark)
    everything = [name for group in order for name in group]
    error = asked.error(everything)
    for name, (entry, *_) in asked.all([one for one in backups.names if one not in everything], choose).items():
        error.remedy = f"{error.remedy} {backups.or_choose(name, entry.backup_id)}"
        break
    raise error


def _manifest(catalog: Catalog, entry: CatalogEntry, damaged: list[PlaybookError] | None) -> Manifest | None:
    """None when it is damaged, which is added to what is given; where nothing is given, it is raised."""
    try:
        return catalog.manifest(entry.source, entry.backup_id)
    except VerificationError as error:
        if damaged is None:
            raise
        damaged.append(error)
        return None


def _rank(entry: CatalogEntry, now: datetime) -> tuple[str, bool]:
    return entry.backup_id, is_sound(entry, now)


def _beside(expected: CatalogEntry, better: CatalogEntry) -> str:
    if expected.backup_id == better.backup_id:
        return "the copy there is damaged, or nobody has checked it."
    return f"the newest good one there is {expected.backup_id}."
