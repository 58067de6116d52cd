"""Details in the manifests of trees of files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from backup_playbook.core.details import Details, Example, TreeDetails


class Shard(BaseModel):
    """Object that lists a part of the tree: its first and last path, percent-encoded, and how many it lists."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    object: str
    first: str
    last: str
    entries: int


class ShardDetails(Details):
    """Objects that list the tree, in the order of the paths."""

    shards: tuple[Shard, ...] = ()


class _OfTheScan(ShardDetails):
    """Facts that a scan finds out, and the backup keeps.

    previous: backup whose contents were relied on; empty for none. relies_on: oldest backup whose contents it may name.
    runs_since_rehash: backups since every file was read. losses: see core.files_guard.Losses, with `rewritten`, the
    number of files that have another content.
    """

    previous: str
    relies_on: str = ""
    runs_since_rehash: int
    losses: dict[str, int] = Field(default_factory=dict)
    mounts_gone: tuple[str, ...] = ()


class ScanDetails(_OfTheScan):
    """Details of what `scan` leaves for `sync`.

    newest: newest backup there was; known: backup that the tree was compared with; both may be empty. plan: number of
    steps by action. hidden: files of the known backup in folders that cannot be read. gone: first paths that are gone.
    """

    newest: str
    known: str
    plan: dict[str, int]
    hidden: int
    gone: tuple[str, ...]
    entries: int


class FilesDetails(_OfTheScan, TreeDetails):
    """Details of a backup.

    done: number of files by what was done. hashed: folder of the repository with contents whose paths are no keys.
    """

    files: int
    bytes: int
    directories: int
    symlinks: int
    hard_links: int = 0
    new_bytes: int
    done: dict[str, int]
    examples: tuple[Example, ...]
    current: str
    hashed: str
