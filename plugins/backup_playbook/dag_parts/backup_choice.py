"""Which backup, from which repository: one that is away, or has no good copy, is passed over, and that is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_playbook.config import PlaybookConfig
from backup_playbook.core.model import Manifest
from backup_playbook.core.recovery_points import choose_backup
from backup_playbook.dag_parts.repositories import Repositories, names_of, or_choose
from backup_playbook.repository.catalog import Catalog, CatalogEntry


@dataclass(frozen=True)
class Choice:
    """remark: why it is not from the repository that comes first; empty when it is."""

    repository: str
    entry: CatalogEntry
    manifest: Manifest
    remark: str


def find_backup(
    config: PlaybookConfig,
    source: str,
    order: Sequence[Sequence[str]],
    wanted: str,
    before: datetime | None,
    *,
    allow_unverified: bool,
) -> Choice:
    """wanted, before, allow_unverified: as of choose_backup. order: of reading_order. Raises PlaybookError."""
    asked, expected = Repositories(config), order[0][0]

    def choose(catalog: Catalog) -> tuple[CatalogEntry, Manifest]:
        entry = choose_backup(catalog.backups(source), wanted, before, allow_unverified=allow_unverified)
        return entry, catalog.manifest(source, entry.backup_id)

    for group in order:
        found = asked.all(group, choose)
        # of equal ones, max() takes the first
        if name := max(found, key=lambda name: found[name][0].backup_id, default=""):
            entry, manifest = found[name]
            remark = ""
            if name != expected:
                why = asked.failed.get(expected)
                reason = why.what if why else f"the newest good one there is {found[expected][0].backup_id}."
                remark = f"Read from {name}, and not from {expected}: {reason}"
            return Choice(name, entry, manifest, remark)
    everything = [name for group in order for name in group]
    error = asked.error(everything)
    for name, (entry, _) in asked.all(
        [one for one in names_of(config, source) if one not in everything], choose
    ).items():
        error.remedy = f"{error.remedy} {or_choose(config, source, name, entry.backup_id)}"
        break
    raise error
