"""Keys of a repository (DESIGN section 4), relative to its prefix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.naming import evidence_stamp, is_backup_id, stamp_time

CATALOG = "catalog/"
OBJECTS = "objects/"
MANIFEST = "manifest.json"
RESTORE_SCRIPT = "restore.sh"

_EVIDENCE = re.compile(rf"({'|'.join(EvidenceKind)})-(\d{{8}}T\d{{9}}Z)(?:-([A-Za-z0-9_-]+))?\.json")


@dataclass(frozen=True, order=True)
class EvidenceName:
    """`verified-20261123T020513042Z-full.json`: a listing tells what happened when, and how, with no GET.

    `qualifier`: the depth of a verification, the repository that a copy went to, the tier, the release reason.
    """

    at: datetime
    kind: EvidenceKind
    qualifier: str = ""

    @property
    def file_name(self) -> str:
        return f"{self.kind}-{evidence_stamp(self.at)}{f'-{self.qualifier}' if self.qualifier else ''}.json"

    @classmethod
    def parse(cls, file_name: str) -> EvidenceName | None:
        if not (match := _EVIDENCE.fullmatch(file_name)):
            return None
        return cls(stamp_time(match[2]), EvidenceKind(match[1]), match[3] or "")


def catalog_folder(source: str, backup_id: str = "") -> str:
    return f"{CATALOG}{source}/{backup_id}/" if backup_id else f"{CATALOG}{source}/"


def manifest_key(source: str, backup_id: str) -> str:
    return catalog_folder(source, backup_id) + MANIFEST


def objects_folder(source: str, backup_id: str = "") -> str:
    return f"{OBJECTS}{source}/{backup_id}/" if backup_id else f"{OBJECTS}{source}/"


def split_key(key: str) -> tuple[str, str, str] | None:
    """(source, backup id, file name) of a key below catalog/ or objects/; None for what is not ours."""
    parts = key.split("/", 3)
    if len(parts) < 4 or f"{parts[0]}/" not in (CATALOG, OBJECTS) or not is_backup_id(parts[2]):
        return None
    return parts[1], parts[2], parts[3]
