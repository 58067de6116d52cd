"""Checks of a backup of files that need no source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.words import EngineWords, counted
from backup_playbook.engines.contract import Engine, SharesContent
from backup_playbook.engines.files.restore_script import render
from backup_playbook.engines.files.shards import SHARDS, check_shard
from backup_playbook.engines.files.source import ENGINE
from backup_playbook.engines.files.verify import check_versions
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation


class FilesEngine:
    """See `engines.contract.Engine` and `SharesContent`."""

    name = ENGINE
    words = EngineWords("tree", "file")

    def summary(self, manifest: Manifest) -> str:
        """Return `12,000 files`."""
        return counted(manifest.details["files"], self.words.row)

    def check_content(self, manifest: Manifest, item: StoredObject, content: Blocks) -> None:
        """Compare a shard of the tree with the manifest."""
        check_shard(manifest, item, content)

    def check_manifest(self, manifest: Manifest) -> list[str]:
        """List what the manifest lacks, or names twice."""
        named = [item.name for item in manifest.objects]
        described = [shard["object"] for shard in manifest.details.get(SHARDS, ())]
        problems = [f"{item.name} is no part of a tree." for item in manifest.objects if item.kind != ObjectKind.TREE]
        if not named:
            problems.append("It has no tree.")
        if named != described:
            problems.append(f"It names {len(named)} shards and describes {len(described)}, or others.")
        if len(set(named)) != len(named):
            problems.append("It names a shard more than once.")
        return problems

    def restore_script(self, manifest: Manifest, repository_url: str) -> str:
        """Write a bash script that restores this backup with stock tools."""
        return render(manifest, repository_url)

    def check_shared(
        self, reader: BackupReader, streams: int, cancellation: Cancellation, *, read: bool
    ) -> list[VerificationError]:
        """Check the versions that the tree names; see `check_versions`."""
        return check_versions(reader, streams, cancellation, read=read)


if TYPE_CHECKING:
    _engine: type[Engine] = FilesEngine
    _shares: type[SharesContent] = FilesEngine
