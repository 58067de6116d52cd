"""What backups a repository holds, and what is known of them: one listing, no GET per backup."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backup_playbook.core.errors import RepositoryError
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.naming import backup_time, is_backup_id
from backup_playbook.repository.layout import (
    CATALOG,
    MANIFEST,
    RESTORE_SCRIPT,
    EvidenceName,
    catalog_folder,
    manifest_key,
    split_key,
)
from backup_playbook.repository.store import ObjectStore

LISTINGS_AT_ONCE = 8


@dataclass
class CatalogEntry:
    """One backup as the listing shows it. `sealed` is false for what a failed run or a removal left behind."""

    source: str
    backup_id: str
    sealed: bool = False
    evidence: list[EvidenceName] = field(default_factory=list)
    newest_change: datetime = datetime.min.replace(tzinfo=UTC)

    @property
    def taken_at(self) -> datetime:
        return backup_time(self.backup_id)

    def latest(self, *kinds: EvidenceKind) -> EvidenceName | None:
        return max((item for item in self.evidence if item.kind in kinds), default=None)

    @property
    def verified(self) -> EvidenceName | None:
        """The newest verification, unless a later one rejected the backup."""
        newest = self.latest(EvidenceKind.VERIFIED, EvidenceKind.REJECTED)
        return newest if newest and newest.kind is EvidenceKind.VERIFIED else None

    @property
    def rejected(self) -> bool:
        newest = self.latest(EvidenceKind.VERIFIED, EvidenceKind.REJECTED)
        return newest is not None and newest.kind is EvidenceKind.REJECTED

    @property
    def proven(self) -> EvidenceName | None:
        """The newest restore that was proven equal."""
        return self.latest(EvidenceKind.RESTORED)

    @property
    def held(self) -> bool:
        newest = self.latest(EvidenceKind.HELD, EvidenceKind.RELEASED)
        return newest is not None and newest.kind is EvidenceKind.HELD

    @property
    def tier(self) -> str:
        newest = self.latest(EvidenceKind.TIERED)
        return newest.qualifier if newest else ""

    @property
    def copied_to(self) -> frozenset[str]:
        return frozenset(item.qualifier for item in self.evidence if item.kind is EvidenceKind.COPIED)


class Catalog:
    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def sources(self) -> list[str]:
        return list(self.store.folders(CATALOG))

    def entries(self, source: str | None = None) -> list[CatalogEntry]:
        """Everything in the catalog of one source, or of all, newest first; also what has no manifest."""
        sources = [source] if source else self.sources()
        with ThreadPoolExecutor(LISTINGS_AT_ONCE, thread_name_prefix="catalog") as threads:
            found = [entry for listed in threads.map(self._entries_of, sources) for entry in listed]
        return sorted(found, key=lambda entry: entry.backup_id, reverse=True)

    def backups(self, source: str | None = None) -> list[CatalogEntry]:
        """The backups that exist: those with a manifest, newest first."""
        return [entry for entry in self.entries(source) if entry.sealed]

    def manifest(self, source: str, backup_id: str) -> Manifest:
        """Raises RepositoryError when there is none, VerificationError when it was edited or belongs elsewhere."""
        if not is_backup_id(backup_id):
            raise RepositoryError(
                f"{backup_id!r} is not a backup id.", "Give one as listed, such as 20261123T020004Z-7f3a91."
            )
        key = manifest_key(source, backup_id)
        manifest = Manifest.from_json(self.store.get(key), f"{self.store.url}/{key}")
        if (manifest.source, manifest.backup_id) != (source, backup_id):
            raise RepositoryError(
                f"{self.store.url}/{key} is the manifest of {manifest.source}/{manifest.backup_id}.",
                "Someone copied it here by hand: remove it, and use the backup from its own place.",
            )
        return manifest

    def seal(self, manifest: Manifest, restore_script: str) -> None:
        """Make the backup exist: restore.sh first, then the manifest, only if there is none yet."""
        folder = catalog_folder(manifest.source, manifest.backup_id)
        self.store.put(folder + RESTORE_SCRIPT, restore_script.encode())
        self.store.put_once(folder + MANIFEST, manifest.to_json())

    def add_evidence(
        self, source: str, backup_id: str, kind: EvidenceKind, body: dict[str, Any], *, qualifier: str = ""
    ) -> EvidenceName:
        """Append an immutable document beside the manifest."""
        name = EvidenceName(datetime.now(UTC), kind, qualifier)
        document = {"kind": kind, "at": name.at.isoformat(), "source": source, "backup_id": backup_id}
        text = json.dumps({**document, "worker": platform.node(), **body}, indent=1, default=str)
        self.store.put_once(catalog_folder(source, backup_id) + name.file_name, text.encode())
        return name

    def read_evidence(self, entry: CatalogEntry, name: EvidenceName) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            self.store.get(catalog_folder(entry.source, entry.backup_id) + name.file_name)
        )
        return document

    def _entries_of(self, source: str) -> Iterator[CatalogEntry]:
        found: dict[str, CatalogEntry] = {}
        for item in self.store.list(catalog_folder(source)):
            if not (parts := split_key(item.key)):
                continue
            _, backup_id, file_name = parts
            entry = found.setdefault(backup_id, CatalogEntry(source, backup_id))
            entry.newest_change = max(entry.newest_change, item.modified)
            if file_name == MANIFEST:
                entry.sealed = True
            elif evidence := EvidenceName.parse(file_name):
                entry.evidence.append(evidence)
        return iter(found.values())
