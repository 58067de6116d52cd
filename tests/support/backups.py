"""Backups as a catalog lists them, and their manifests, without a repository."""

from datetime import datetime, timedelta

from backup_playbook.core.evidence import MODELS, Evidence
from backup_playbook.core.model import (
    EncryptionRecord,
    EvidenceKind,
    Manifest,
    ObjectKind,
    StoredObject,
    TablePart,
    TableRecord,
)
from backup_playbook.repository.catalog import CatalogEntry
from backup_playbook.repository.layout import EvidenceName

SOURCE = "shop"


def backup_id(taken_at: datetime) -> str:
    return f"{taken_at:%Y%m%dT%H%M%S}Z-7f3a91"


def listed(taken_at: datetime, **evidence: datetime | None) -> CatalogEntry:
    """Verified five minutes later, unless `verified` says otherwise: `listed(at, verified=None, rejected=later)`."""
    times = {"verified": taken_at + timedelta(minutes=5)} | evidence
    found = [EvidenceName(at, EvidenceKind(kind), "full") for kind, at in times.items() if at]
    return CatalogEntry(SOURCE, backup_id(taken_at), sealed=True, evidence=found)


def manifest(
    taken_at: datetime, tables: dict[str, int], *, size: int = 500_000_000, encryption: EncryptionRecord | None = None
) -> Manifest:
    """tables: rows by name."""
    item = StoredObject(
        name="pack.zst", kind=ObjectKind.PACK, stored_bytes=size, stored_sha256="", first_part_bytes=size,
        content_bytes=4 * size, content_sha256="",
    )  # fmt: skip
    records = tuple(
        TableRecord(
            namespace="public", name=name, columns=("id",),
            parts=(TablePart(object=item.name, rows=rows, bytes=rows, sha256=""),),
        )
        for name, rows in tables.items()
    )  # fmt: skip
    return Manifest(
        backup_id=backup_id(taken_at), source=SOURCE, engine="postgres", started_at=taken_at, snapshot_at=taken_at,
        finished_at=taken_at, tools={}, compression="zstd level 1", encryption=encryption or EncryptionRecord(),
        details={}, objects=(item,), tables=records,
    ).sealed()  # fmt: skip


def said(kind: EvidenceKind, **told: object) -> Evidence:
    """Evidence that says no more than this, as an earlier release or a person may have written it."""
    return MODELS[kind].model_construct(**told)
