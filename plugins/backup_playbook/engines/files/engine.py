"""Checks of a backup of files that need no source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backup_playbook.core.model import Manifest, ObjectKind
from backup_playbook.core.words import EngineWords, counted
from backup_playbook.engines.contract import Engine, SharesContent
from backup_playbook.engines.files.details import FilesDetails, ShardDetails
from backup_playbook.engines.files.restore_script import render
from backup_playbook.engines.files.shards import check_shard
from backup_playbook.engines.files.source import ENGINE
from backup_playbook.engines.files.verify import check_versions


class FilesEngine:
    """See `engines.contract.Engine` and `SharesContent`."""

    name = ENGINE
    words = EngineWords("tree", "file")
    check_content = staticmethod(check_shard)
    check_shared = staticmethod(check_versions)
    restore_script = staticmethod(render)

    def summary(self, manifest: Manifest) -> str:
        """Return `12,000 files`."""
        return counted(FilesDetails.of(manifest).files, self.words.row)

    def check_manifest(self, manifest: Manifest) -> list[str]:
        """List what the manifest lacks, or names twice."""
        named = [item.name for item in manifest.objects]
        described = [shard.object for shard in ShardDetails.of(manifest).shards]
        problems = [f"{item.name} is no part of a tree." for item in manifest.objects if item.kind != ObjectKind.TREE]
        if not named:
            problems.append("It has no tree.")
        if named != described:
            problems.append(f"It names {len(named)} shards and describes {len(described)}, or others.")
        if len(set(named)) != len(named):
            problems.append("It names a shard more than once.")
        return problems


if TYPE_CHECKING:
    _engine: type[Engine] = FilesEngine
    _shares: type[SharesContent] = FilesEngine
