"""Keys of a repository (DESIGN section 4), relative to its prefix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.naming import evidence_stamp, is_backup_id, stamp_time

CATALOG = "catalog/"
OBJECTS = "objects/"
MANIFEST = "manifest.json"
RESTORE_SCRIPT = "restore.sh"

_EVIDENCE = re.compile(
    rf"({'|'.join(EvidenceKind)})-(\d{{8}}T\d{{9}}Z)(?:-([A-Za-z0-9_-]*?)(?:--([0-9a-f]{{10}}))?)?\.json"
)


@dataclass(frozen=True, order=True)
class EvidenceName:
    """File name of evidence, such as `verified-20261123T020513042Z-full--e3b0c44298.json`.

    The name tells a listing what happened, when and how, with no GET.
    qualifier: the depth of a verification, the repository that a copy went to, the tier, or the release reason.
    seen: digest of the findings that were there when the work began (see `digest_of`), so that no clock decides which
    of two verdicts holds. Empty in older evidence.
    """

    at: datetime
    kind: EvidenceKind
    qualifier: str = ""
    seen: str = ""

    @property
    def file_name(self) -> str:
        """Name of the file beside the manifest."""
        more = f"-{self.qualifier}--{self.seen}" if self.seen else f"-{self.qualifier}" if self.qualifier else ""
        return f"{self.kind}-{evidence_stamp(self.at)}{more}.json"

    @classmethod
    def parse(cls, file_name: str) -> EvidenceName | None:
        """Read a file name; None when it is not one of evidence."""
        if not (match := _EVIDENCE.fullmatch(file_name)):
            return None
        return cls(stamp_time(match[2]), EvidenceKind(match[1]), match[3] or "", match[4] or "")


def digest_of(findings: Iterable[EvidenceName]) -> str:
    """Digest of a set of findings: ten characters, however many there are.

    A finding that was written into several repositories counts as the same in all of them, although it had seen
    different ones there.
    """
    names = "\n".join(sorted({replace(one, seen="").file_name for one in findings}))
    return hashlib.sha256(names.encode()).hexdigest()[:10]


def catalog_folder(source: str, backup_id: str = "") -> str:
    """Key prefix of the manifest and evidence of one backup, or of all backups of a source."""
    return f"{CATALOG}{source}/{backup_id}/" if backup_id else f"{CATALOG}{source}/"


def manifest_key(source: str, backup_id: str) -> str:
    """Key of the manifest of a backup."""
    return catalog_folder(source, backup_id) + MANIFEST


def objects_folder(source: str, backup_id: str = "") -> str:
    """Key prefix of the objects of one backup, or of all backups of a source."""
    return f"{OBJECTS}{source}/{backup_id}/" if backup_id else f"{OBJECTS}{source}/"


def split_key(key: str) -> tuple[str, str, str] | None:
    """Split a key below catalog/ or objects/ into source, backup id and file name; None for any other key."""
    parts = key.split("/", 3)
    if len(parts) < 4 or f"{parts[0]}/" not in (CATALOG, OBJECTS) or not is_backup_id(parts[2]):
        return None
    return parts[1], parts[2], parts[3]
