"""What the tests of the files engine share: a tree with every kind of entry, a versioned repository, comparisons."""

import os
import stat
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup_playbook.core.evidence import Verified
from backup_playbook.core.model import Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.core.tree import Entry
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.shards import entries
from backup_playbook.engines.files.source import FilesOptions, FilesSource
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.objects import BackupReader, BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from embedded.s3 import S3Gateway

SOURCE = "uploads"
NOT_UTF8 = b"caf\xe9.txt"


@dataclass
class FilesLab:
    """A directory `root`, and a repository in a bucket that keeps versions."""

    s3: S3Gateway
    store: ObjectStore
    root: Path
    options: FilesOptions = field(default_factory=FilesOptions)
    _second: int = 0

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.store)

    def write(self, path: str | bytes, content: bytes = b"content") -> Path:
        file = self.root / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def source(self, **options: Any) -> FilesSource:
        return FilesSource(DirectoryTree(self.root), FilesOptions(**options) if options else self.options)

    def writer(self) -> BackupWriter:
        # ids sort by their second, and tests take several backups in one
        self._second += 1
        started = datetime.now(UTC).replace(microsecond=0).timestamp() - 100 + self._second
        return BackupWriter(self.store, SOURCE, new_backup_id(datetime.fromtimestamp(started, UTC)), Codec())

    def backup(self, source: FilesSource | None = None) -> Manifest:
        return take_backup(source or self.source(), FilesEngine(), self.writer(), Cancellation())

    def verify(self, manifest: Manifest, depth: Depth = Depth.FULL) -> Verified:
        verification = Verification(self.catalog, FilesEngine(), Codec(), depth, 4)
        return verification.run(SOURCE, manifest.backup_id, Cancellation(), manifest.seal)

    def reader(self, manifest: Manifest) -> BackupReader:
        return open_backup(self.catalog, FilesEngine(), SOURCE, manifest.backup_id, Codec())

    def tree(self, manifest: Manifest) -> dict[bytes, Entry]:
        return {entry.path: entry for entry in entries(self.reader(manifest))}

    def current(self) -> dict[str, bytes]:
        """What `aws s3 sync` of the current state would bring."""
        folder = f"current/{SOURCE}/"
        return {item.key.removeprefix(folder): self.store.get(item.key) for item in self.store.list(folder)}


def make_lab(s3: S3Gateway, root: Path) -> FilesLab:
    bucket = f"files-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(bucket)
    client = s3.client(client_config(4))
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    root.mkdir(exist_ok=True)
    return FilesLab(s3, ObjectStore(client, bucket=bucket, prefix="playbook", name="primary"), root)


def fill(lab: FilesLab) -> None:
    """One of every kind of entry that a file system has."""
    lab.write("a.txt", b"one")
    lab.write("a-b", b"sorts before a/ ...")
    lab.write("a/b", b"... which sorts before a0")
    lab.write("a0", b"")
    lab.write("A.TXT", b"a twin by case")
    lab.write("deep/" * 40 + "end", b"deep")
    lab.write(NOT_UTF8, b"not UTF-8")
    lab.write("new\nline", b"a line break")
    lab.write("x" * 255, b"long")
    lab.write("images/ünïcode \U0001f600.png", os.urandom(5_000))
    lab.write("large", os.urandom(9 << 20))
    lab.write("empty/.keep", b"").unlink()
    (lab.root / "link").symlink_to("../outside")
    (lab.root / "folder-link").symlink_to("a", target_is_directory=True)
    os.mkfifo(lab.root / "fifo")
    with (lab.root / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    (lab.root / "a.txt").chmod(0o4750)
    (lab.root / "a").chmod(0o2750)
    os.utime(lab.root / "a.txt", ns=(1, 1_234_567_890_123_456_789))


def state(root: Path, *, attributes: bool = True) -> dict[str, tuple[object, ...]]:
    """Everything below a directory, comparable; without special files, which no backup brings back."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            if path.is_symlink():
                content: object = str(path.readlink())
            elif stat.S_ISDIR(status.st_mode):
                content = "directory"
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            else:
                continue
            kept = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
            found[str(path.relative_to(root))] = (content, *(kept if attributes else ()))
    return found


Make = Callable[[], FilesLab]
