"""The script restore.sh: brings a tree back with stock tools, without Airflow and this project.

Names of files are data: only the shards have them, which Python's json reads; they are never words of a shell.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from backup_playbook.core.model import Manifest, StoredObject
from backup_playbook.core.progress import human_bytes
from backup_playbook.core.words import counted
from backup_playbook.engines.files.details import FilesDetails, Shard
from backup_playbook.engines.stock_tools import fill

_TEMPLATE = Path(__file__).with_name("restore.sh.template")


def render(manifest: Manifest, repository_url: str) -> str:
    """Write restore.sh for a backup."""
    details = FilesDetails.of(manifest)
    words = {
        "SUMMARY": f"{counted(details.files, 'file')}, {human_bytes(details.bytes)}",
        "CURRENT": f"{repository_url}/{details.current}",
        "CURRENT_FOLDER": shlex.quote(details.current),
        "HASHED_FOLDER": shlex.quote(details.hashed),
        "BODY": "\n".join(_shard(item, shard) for item, shard in zip(manifest.objects, details.shards, strict=True)),
    }
    return fill(_TEMPLATE, manifest, repository_url, words)


def _shard(item: StoredObject, shard: Shard) -> str:
    words = item.name, item.stored_sha256, str(shard.entries), shard.first, shard.last
    return " ".join(["shard", *map(shlex.quote, words)])
