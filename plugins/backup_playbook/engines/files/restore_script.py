"""restore.sh: brings a tree back with stock tools, when neither Airflow nor this project is at hand.

Names of files are data: they are in the shards only, which Python's json reads, and never words of a shell.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from backup_playbook.core.holdings import holding
from backup_playbook.core.model import Manifest, StoredObject
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.files.shards import SHARDS

_TEMPLATE = Path(__file__).with_name("restore.sh.template")


def render(manifest: Manifest, repository_url: str) -> str:
    details = manifest.details
    words = {
        "BACKUP": manifest.backup_id,
        "SOURCE": manifest.source,
        "TAKEN": manifest.snapshot_at.isoformat(sep=" ", timespec="seconds"),
        "SUMMARY": f"{holding(manifest)}, {human_bytes(details['bytes'])}",
        "CURRENT": f"{repository_url}/{details['current']}",
        "REPOSITORY": shlex.quote(repository_url),
        "CURRENT_FOLDER": shlex.quote(details["current"]),
        "HASHED_FOLDER": shlex.quote(details["hashed"]),
        "BODY": "\n".join(_shard(item, shard) for item, shard in zip(manifest.objects, details[SHARDS], strict=True)),
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: words[match[1]], _TEMPLATE.read_text())


def _shard(item: StoredObject, shard: dict[str, Any]) -> str:
    words = item.name, item.stored_sha256, str(shard["entries"]), shard["first"], shard["last"]
    return " ".join(["shard", *map(shlex.quote, words)])
