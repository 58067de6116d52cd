"""Backups of a directory: what is stored, what is not stored again, and what stands in the way."""

import os
import stat
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest

from backup_playbook.core.details import data_bytes
from backup_playbook.core.errors import RepositoryError, SourceError, VerificationError
from backup_playbook.core.files_guard import DeleteLimits
from backup_playbook.core.tree import FileType, Outcome
from backup_playbook.engines.backup import Depth
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.place import Place
from backup_playbook.engines.files.restore import FilesRestore
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation
from tests.integration.files.lab import NOT_UTF8, FilesLab, fill, state
from tests.integration.files.restore_sh import run_restore_sh
from tests.integration.files.test_restore import restore, script_of


def test_every_kind_of_entry(lab: FilesLab) -> None:
    fill(lab)
    manifest = lab.backup()
    tree = lab.tree(manifest)
    assert list(tree) == sorted(tree)
    on_disk = {os.fsencode(path.relative_to(lab.root)) for path in lab.root.rglob("*")}
    assert {path.removesuffix(b"/") for path in tree} == on_disk
    assert tree[b"a.txt"].mode == 0o4750
    assert tree[b"a.txt"].mtime_ns == 1_234_567_890_123_456_789
    assert (tree[b"link"].type, tree[b"link"].target) == (FileType.SYMLINK, b"../outside")
    assert tree[b"folder-link"].type == FileType.SYMLINK
    assert (tree[b"fifo"].outcome, tree[b"fifo"].stored) == (Outcome.SPECIAL, False)
    assert tree[b"sparse"].sparse
    assert tree[b"empty/"].is_directory
    assert tree[NOT_UTF8].hashed_key
    assert manifest.details["outcomes"] == {"special": 1}
    stored = [entry for entry in tree.values() if entry.stored]
    assert FilesEngine().summary(manifest) == f"{len(stored)} files"
    assert data_bytes(manifest) == sum(entry.size for entry in stored) > manifest.content_bytes
    for depth in (Depth.FULL, Depth.CHECKSUMS):
        lab.verify(manifest, depth)


def test_the_current_state_is_plain_files(lab: FilesLab) -> None:
    lab.write("a.txt", b"one")
    lab.write("b/c", b"two")
    gone = lab.write("b/gone", b"three")
    lab.backup()
    gone.unlink()
    lab.write("a.txt", b"changed")
    lab.backup()
    assert lab.current() == {"a.txt": b"changed", "b/c": b"two"}


def test_what_is_unchanged_is_not_read_again(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_playbook.engines.files.directory.YOUNG_NS", 0)
    fill(lab)
    first = lab.tree(lab.backup())
    monkeypatch.setattr("backup_playbook.engines.files.directory.DirectoryTree.read", None)
    second = lab.backup()
    assert lab.tree(second) == first
    assert second.details["done"] == dict.fromkeys(second.details["done"], 0)


def test_small_files_take_the_quick_way(lab: FilesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything would also work without it, three times slower."""
    for number in range(5):
        lab.write(f"folder/{number} +~'ü&?#%20", b"%d" % number)
    for name in ("put", "read", "stored_checksum"):
        usual = getattr(ObjectStore, name)
        monkeypatch.setattr(ObjectStore, name, partialmethod(_refused_below_current, usual))
    manifest = lab.backup()
    for depth in (Depth.FULL, Depth.CHECKSUMS):
        lab.verify(manifest, depth)
    (tmp_path / "copy").mkdir()
    with Place(tmp_path / "copy") as place:
        FilesRestore(lab.reader(manifest), place, Cancellation()).run()
    assert state(tmp_path / "copy") == state(lab.root)


def _refused_below_current(store: ObjectStore, usual: Callable[..., Any], key: str, *rest: Any) -> Any:
    assert not key.startswith("current/")
    return usual(store, key, *rest)


def test_one_of_many_changes(lab: FilesLab) -> None:
    for number in range(30):
        lab.write(f"{number:02}", b"%d" % number)
    first = lab.tree(lab.backup())
    lab.write("07", b"other")
    (lab.root / "08").chmod(0o600)
    os.utime(lab.root / "09", ns=(5, 5))
    manifest = lab.backup()
    second = lab.tree(manifest)
    assert manifest.details["done"] | {"deleted": 0} == {
        "uploaded": 1, "renamed": 0, "same": 29, "silently_changed": 0, "deleted": 0, "gone": 0,
        "adopted": 0, "healed": 0,
    }  # fmt: skip
    assert {path for path in first if first[path].version != second[path].version} == {b"07"}
    assert second[b"08"].mode == 0o600
    assert second[b"09"].mtime_ns == 5
    lab.verify(manifest)


@pytest.mark.parametrize("size", [10, 9 << 20])
def test_a_renamed_file_is_copied_by_the_store(lab: FilesLab, size: int) -> None:
    content = os.urandom(size)
    lab.write("keep")
    before = lab.write("z-before", content)
    lab.backup()
    before.rename(lab.root / "after")
    manifest = lab.backup()
    assert manifest.details["done"]["renamed"] == 1
    assert lab.current() == {"keep": b"content", "after": content}
    for depth in (Depth.FULL, Depth.CHECKSUMS):
        lab.verify(manifest, depth)


def test_a_file_becomes_a_directory_and_the_other_way_round(lab: FilesLab) -> None:
    lab.write("one", b"a file")
    lab.write("two/inside", b"a directory")
    for number in range(8):
        lab.write(f"zz{number}")
    lab.backup()
    (lab.root / "one").unlink()
    lab.write("one/inside", b"now a directory")
    (lab.root / "two/inside").unlink()
    (lab.root / "two").rmdir()
    lab.write("two", b"now a file")
    manifest = lab.backup()
    tree = lab.tree(manifest)
    assert [path for path in tree if tree[path].stored][:2] == [b"one/inside", b"two"]
    lab.verify(manifest)


def test_rehash_finds_what_a_disk_does_in_silence(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_playbook.engines.files.directory.YOUNG_NS", 0)
    lab.write("rots", b"before")
    lab.write("stays")
    lab.backup(lab.source(rehash_every=2))
    read = os.read
    monkeypatch.setattr(os, "read", lambda *what: read(*what).replace(b"before", b"rotten"))
    assert lab.backup(lab.source(rehash_every=2)).details["done"]["silently_changed"] == 0
    manifest = lab.backup(lab.source(rehash_every=2))
    assert (manifest.details["done"]["silently_changed"], manifest.details["done"]["same"]) == (1, 1)
    assert manifest.details["examples"][0]["path"] == "rots"
    assert lab.current()["rots"] == b"rotten"


def test_the_guard_stops_before_anything_is_deleted(lab: FilesLab) -> None:
    for number in range(20):
        lab.write(str(number))
    lab.backup()
    for number in range(19):
        (lab.root / str(number)).unlink()
    with pytest.raises(SourceError, match=r"19 of 20 files \(95%\) are lost"):
        lab.backup()
    assert len(lab.current()) == 20
    assert len(lab.catalog.entries()) == 1


def test_an_empty_mount_point_is_not_a_tree_of_deleted_files(lab: FilesLab) -> None:
    lab.write("only")
    lab.backup()
    (lab.root / "only").unlink()
    with pytest.raises(SourceError, match="1 of 1 files"):
        lab.backup()


def test_a_bucket_without_versions_is_refused(lab: FilesLab) -> None:
    lab.store.client.put_bucket_versioning(Bucket=lab.store.bucket, VersioningConfiguration={"Status": "Suspended"})
    lab.write("a")
    with pytest.raises(RepositoryError, match="suspended") as caught:
        lab.backup()
    assert "aws s3api put-bucket-versioning" in caught.value.remedy


def test_an_unreadable_directory_hides_files_and_deletes_none(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("closed/inside", b"still there")
    lab.write("open")
    first = lab.tree(lab.backup())
    scandir = os.scandir

    def refuse(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    manifest = lab.backup()
    second = lab.tree(manifest)
    assert (second[b"closed/"].outcome, second[b"closed/"].reason) == (Outcome.UNREADABLE, "Permission denied")
    assert second[b"closed/inside"] == first[b"closed/inside"]
    assert manifest.details["examples"][0]["path"] == "closed/"
    lab.verify(manifest)


def test_what_cannot_be_looked_at_keeps_its_attributes(
    lab: FilesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with damaged inodes: names are there, and nothing else."""
    lab.write("closed/inside")
    lab.write("file", b"was readable").chmod(0o640)
    (lab.root / "link").symlink_to("file")
    (lab.root / "closed").chmod(0o2750)
    first, was = lab.tree(lab.backup()), state(lab.root)
    lab.write("new")
    (lab.root / "unknown").mkdir()
    real, real_open = os.lstat, os.open
    bad = (b"/file", b"/closed", b"/link", b"/new", b"/unknown")

    def refuse(path: bytes) -> os.stat_result:
        if isinstance(path, bytes) and path.endswith(bad):
            raise OSError(5, "Input/output error")
        return real(path)

    def refuse_open(path: bytes, flags: int, *arguments: int, **more: int) -> int:
        if isinstance(path, bytes) and path.startswith(os.fsencode(lab.root)) and path.endswith(bad):
            raise OSError(5, "Input/output error")
        return real_open(path, flags, *arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", refuse)
        patched.setattr(os, "open", refuse_open)
        for rehash_every in (30, 1):
            manifest = lab.backup(lab.source(rehash_every=rehash_every, limits=DeleteLimits(share=1)))
            assert manifest.details["outcomes"] == {"unreadable": 5}
            tree = lab.tree(manifest)
            for path in (b"file", b"closed/", b"link"):
                assert tree[path]._replace(outcome="", reason="") == first[path]
                assert tree[path].reason == "Input/output error"
    lab.verify(manifest)
    restore(lab, manifest, tmp_path / "copy")
    unknown = (tmp_path / "copy/unknown").stat()
    assert stat.S_IMODE(unknown.st_mode) == 0o700
    assert unknown.st_mtime_ns > 0
    (tmp_path / "copy/unknown").rmdir()
    assert state(tmp_path / "copy") == was
    result = run_restore_sh(script_of(lab, manifest), tmp_path, lab.s3.shell_environment(), str(tmp_path / "by-script"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "by-script/unknown").stat().st_mode & 0o700 == 0o700
    later = lab.backup()
    assert later.details["outcomes"] == {}
    assert lab.current()["new"] == b"content"


def test_an_unreadable_file_keeps_what_was_stored(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("secret", b"was readable")
    first = lab.tree(lab.backup())
    lab.write("secret", b"no more")
    lab.write("new", b"never was")
    real = os.open

    def refuse(path: bytes, flags: int, *arguments: int, **more: int) -> int:
        if isinstance(path, bytes) and path.endswith((b"secret", b"/new")):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)
    manifest = lab.backup(lab.source(limits=DeleteLimits(share=1)))
    second = lab.tree(manifest)
    assert (second[b"secret"].version, second[b"secret"].outcome) == (first[b"secret"].version, Outcome.UNREADABLE)
    assert (second[b"new"].stored, second[b"new"].outcome) == (False, Outcome.UNREADABLE)
    lab.verify(manifest)
    monkeypatch.setattr(os, "open", real)
    assert lab.tree(lab.backup())[b"secret"].outcome == ""
    assert lab.current() == {"secret": b"no more", "new": b"never was"}


@pytest.mark.parametrize("size", [100, 5 << 20])
def test_a_file_that_changes_while_it_is_read(lab: FilesLab, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = lab.write("growing", bytes(size))
    lab.write("quiet")
    read = os.read

    def grow(descriptor: int, count: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == growing:
            with growing.open("ab") as file:
                file.write(b"x")
        return read(descriptor, count)

    monkeypatch.setattr(os, "read", grow)
    manifest = lab.backup()
    entry = lab.tree(manifest)[b"growing"]
    assert entry.outcome == Outcome.CHANGING
    assert size <= entry.size < growing.stat().st_size
    lab.verify(manifest)
    monkeypatch.undo()
    later = lab.tree(lab.backup())[b"growing"]
    assert (later.outcome, later.size) == ("", growing.stat().st_size)


def test_a_file_that_is_gone_when_it_is_read(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("fleeting", b"1")
    lab.write("stays")
    lab.backup()
    lab.write("fleeting", b"22")
    source = lab.source()
    writer = lab.writer()
    draft = source.scan(writer, Cancellation())
    (lab.root / "fleeting").unlink()
    manifest = source.sync(writer, draft, Cancellation())
    assert manifest.details["done"]["gone"] == 1
    assert manifest.details["files"] == 1
    assert lab.current() == {"stays": b"content"}


@pytest.mark.parametrize("depth", [Depth.FULL, Depth.CHECKSUMS])
def test_a_version_that_was_deleted_is_found_missing(lab: FilesLab, depth: Depth) -> None:
    lab.write("a")
    lab.write("b")
    lab.backup()
    manifest = lab.backup()
    entry = lab.tree(manifest)[b"b"]
    key = lab.store.path("current/uploads/b")
    lab.store.client.delete_object(Bucket=lab.store.bucket, Key=key, VersionId=entry.version)
    with pytest.raises(VerificationError, match="is gone") as caught:
        lab.verify(manifest, depth)
    assert len(caught.value.problems) == 1


def test_after_a_rejection_everything_is_uploaded_anew(lab: FilesLab) -> None:
    lab.write("a")
    lab.write("b")
    first = lab.backup()
    file = lab.s3.buckets / lab.store.bucket / "playbook/current/uploads/a"
    file.write_bytes(b"CONTENT")
    with pytest.raises(VerificationError, match="SHA-256"):
        lab.verify(first)
    second = lab.backup()
    assert second.details["done"]["uploaded"] == 2
    lab.verify(second)
