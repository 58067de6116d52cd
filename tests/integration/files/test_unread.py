"""Files that were not read, or were taken for others: each would be a backup that is not one, and says it is."""

import errno
import json
import mmap
import os
import shutil
import struct
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backup_playbook.core.errors import RepositoryError, SourceError, VerificationError
from backup_playbook.core.files_guard import DeleteLimits, Losses, reason_to_stop, warnings
from backup_playbook.core.tree import Entry, FileType, to_line
from backup_playbook.engines.files import plan
from backup_playbook.engines.files.base import CURRENT_DIFFERS
from backup_playbook.engines.files.contents import Contents
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.history import backup_with
from backup_playbook.engines.files.plan import Plan
from backup_playbook.engines.files.retention import remove_unnamed
from backup_playbook.engines.files.source import losses
from backup_playbook.engines.files.steps import in_words
from backup_playbook.repository.layout import manifest_key, objects_folder
from backup_playbook.repository.removal import remove_backup
from backup_playbook.repository.small_objects import SmallObjects
from backup_playbook.streams.processes import Cancellation
from tests.integration.files.lab import SOURCE, FilesLab
from tests.support.ordinary_user import ordinary_user

TIME = 1_700_000_000 * 10**9
"""As reproducible archives set it."""
YOUNG = "backup_playbook.engines.files.directory.YOUNG_NS"


def release(lab: FilesLab, number: int) -> None:
    """`rm -rf assets; tar -xf release.tar`: the file system gives the freed inodes to the next files at once."""
    shutil.rmtree(lab.root / "assets", ignore_errors=True)
    for place in range(60):
        size = 64 << (place % 4)
        file = lab.write(f"assets/r{number}-{place:03}.bin", f"{number} {place} ".encode().ljust(size, b"x"))
        os.utime(file, ns=(TIME, TIME))
    large = lab.write(f"assets/r{number}-large", f"{number}".encode().ljust(5 << 20, b"x"))
    os.utime(large, ns=(TIME, TIME))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_no_content_is_taken_from_a_file_that_had_the_same_inode_size_and_time(lab: FilesLab) -> None:
    anything = lab.source(limits=DeleteLimits(share=1))
    for number in range(3):
        release(lab, number)
        lab.backup(anything)
        assert lab.current() == contents(lab.root)


def test_a_content_is_read_when_its_old_time_was_put_back(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(YOUNG, 0)
    written, over = lab.write("written", b"before"), lab.write("over", b"before")
    for file in (written, over):
        os.utime(file, ns=(TIME, TIME))
    lab.backup()
    written.write_bytes(b"after.")
    twin = lab.root.parent / "twin"
    twin.write_bytes(b"after.")
    os.utime(twin, ns=(TIME, TIME))
    shutil.copy2(twin, over)  # cp -p
    os.utime(written, ns=(TIME, TIME))
    assert lab.backup().details["done"]["uploaded"] == 2
    assert set(lab.current().values()) == {b"after."}


def test_a_page_that_is_mapped_changes_no_time_and_is_read_again(lab: FilesLab) -> None:
    file = lab.write("mapped", bytes(4096))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as page:
        page[:5] = b"first"
        lab.backup()
        page[:6] = b"second"
        lab.backup()
    assert lab.current()["mapped"].startswith(b"second")


def test_what_cannot_be_read_is_a_loss(lab: FilesLab) -> None:
    for number in range(20):
        lab.write(f"data/{number}")
    lab.write("other")
    first = lab.backup()
    assert (warnings(first), first.details["unreadable"]) == ([], 0)
    (lab.root / "data").chmod(0o700)
    with ordinary_user(lab.root), pytest.raises(SourceError, match=r"20 of 21 files .* 20 cannot be read"):
        lab.backup()
    (lab.root / "data").chmod(0o755)
    for file in (lab.root / "data").iterdir():
        file.chmod(0o600)
    with ordinary_user(lab.root), pytest.raises(SourceError, match=r"20 of 21 files .* 20 cannot be read"):
        lab.backup()
    # a person agrees: what was stored stays, it is said, and nobody is asked again
    for _ in range(2):
        with ordinary_user(lab.root):
            source, writer = lab.source(), lab.writer()
            draft = source.scan(writer, Cancellation())
            assert draft.details["gone"][0] == "data/0 (Permission denied)"
            manifest = source.sync(writer, draft, Cancellation()).sealed()
        lab.catalog.seal(manifest, FilesEngine().restore_script(manifest, ""))
        assert manifest.details["unreadable"] == 20
        assert "20 unreadable" in warnings(manifest)[0]
        assert "20 unreadable" in in_words(manifest)
        lab.verify(manifest)
    assert reason_to_stop(losses(draft), DeleteLimits()) == ""
    (lab.root / "data").chmod(0o700)
    with ordinary_user(lab.root):
        hidden = lab.backup()  # it hides nothing that could be read
    assert hidden.details["unreadable"] == 21
    assert len(lab.current()) == 21


def test_what_only_reading_shows_to_be_unreadable_is_a_loss(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        lab.write(f"{number}")
    lab.backup()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(DirectoryTree, "read", fail)
        with pytest.raises(SourceError, match=r"While .* 20 of 20 files .* 20 cannot be read") as caught:
            lab.backup()
    assert "delete_guard" in caught.value.remedy
    assert len(lab.current()) == 20


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_worker_that_is_exhausted_calls_no_file_unreadable(
    lab: FilesLab, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write("folder/file")
    for name in ("open", "scandir", "lstat"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, _failing(getattr(os, name), code))
            with pytest.raises(SourceError, match="has run out"):
                lab.backup()
    assert not lab.catalog.backups()


def _failing(usual: object, code: int) -> object:
    def fail(path: object, *rest: object, **more: object) -> object:
        if isinstance(path, bytes) and b"folder" in path:
            raise OSError(code, os.strerror(code))
        return usual(path, *rest, **more)  # type: ignore[operator]

    return fail


def test_a_damaged_newest_manifest_ends_no_later_backup(lab: FilesLab) -> None:
    for number in range(12):
        lab.write(f"{number}")
    first = lab.backup()
    damaged = lab.backup()
    file = lab.s3.buckets / lab.store.bucket / "playbook" / manifest_key(SOURCE, damaged.backup_id)
    file.write_bytes(file.read_bytes().replace(b'"files": 12', b'"files": 13'))
    with pytest.raises(VerificationError):
        lab.verify(damaged)
    (lab.root / "0").unlink()
    anew = lab.backup()
    assert (anew.details["done"]["uploaded"], anew.details["losses"]["vanished"]) == (11, 1)
    assert anew.details["relies_on"] == anew.backup_id
    assert len(lab.current()) == 11
    lab.verify(anew)
    following = lab.backup()
    assert (following.details["previous"], following.details["done"]["uploaded"]) == (anew.backup_id, 0)
    entry = lab.tree(anew)[b"1"]
    assert backup_with(lab.catalog, SOURCE, "1", entry.version) == following.backup_id
    old = lab.tree(first)[b"1"].version
    assert backup_with(lab.catalog, SOURCE, "1", old) == first.backup_id
    # what the damaged one may name stays until it is repaired, or gone
    later = datetime.now(UTC) + timedelta(days=1)
    remove_backup(lab.store, SOURCE, first.backup_id)
    removed = remove_unnamed(lab.catalog, SOURCE, timedelta(), later)
    assert (removed.versions, removed.shards > 0) == (0, True)
    remove_backup(lab.store, SOURCE, damaged.backup_id)
    assert remove_unnamed(lab.catalog, SOURCE, timedelta(), later).versions >= 12
    assert len(lab.current()) == 11
    lab.verify(following)


def test_a_damaged_newest_tree_ends_no_later_backup(lab: FilesLab) -> None:
    for number in range(12):
        lab.write(f"{number}")
    first = lab.backup()
    for damage in (lambda file: file.write_bytes(b"damaged"), lambda file: file.unlink()):
        damaged = lab.backup()
        folder = objects_folder(SOURCE, damaged.backup_id)
        damage(lab.s3.buckets / lab.store.bucket / "playbook" / folder / damaged.objects[0].name)
        manifest = lab.backup()
        assert (manifest.details["previous"], manifest.details["done"]["uploaded"]) == ("", 12)
        assert manifest.details["losses"]["before"] == 12
        lab.verify(manifest)
    lab.verify(first)


def test_the_current_state_is_compared_and_healed(lab: FilesLab, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("deleted", "replaced", "stays", "large"):
        lab.write(path, path.encode() * (1 << 20 if path == "large" else 1))
    (lab.root / "link").symlink_to("stays")
    manifest = lab.backup()
    lab.verify(manifest)
    marker = objects_folder(SOURCE, manifest.backup_id) + CURRENT_DIFFERS
    assert not lab.store.exists(marker)
    lab.store.delete([f"current/{SOURCE}/{path}" for path in ("deleted", "large")])
    for path in ("replaced", "foreign", "link"):
        lab.store.put(f"current/{SOURCE}/{path}", b"somebody's")
    lab.verify(manifest)  # it is as good as it was
    assert lab.store.exists(marker)
    assert "5 files are missing, or other ones" in caplog.text
    healed = lab.backup()
    assert lab.current() == {path: content for path, content in contents(lab.root).items() if path != "link"}
    assert (healed.details["done"]["healed"], healed.details["done"]["uploaded"]) == (3, 0)
    lab.verify(healed)
    assert not lab.store.exists(objects_folder(SOURCE, healed.backup_id) + CURRENT_DIFFERS)
    lab.verify(manifest)  # nor does an older one say anything of the current state


def test_a_first_backup_goes_on_where_one_was_cut_short(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("a", "b", "large", "unlike"):
        lab.write(path, path.encode() * (1 << 20 if path == "large" else 1))
    keep = Contents.keep
    source, writer = lab.source(), lab.writer()
    source.sync(writer, source.scan(writer, Cancellation()), Cancellation())  # the worker dies before `seal`
    lab.write("unlike", b"UNLIKE")
    manifest = lab.backup()
    assert (manifest.details["done"]["adopted"], manifest.details["done"]["uploaded"]) == (3, 1)
    lab.verify(manifest)
    # the same after a rejection: what was stored since is adopted once it was read back
    file = lab.s3.buckets / lab.store.bucket / "playbook/current/uploads/a"
    file.write_bytes(b"A")
    with pytest.raises(VerificationError, match="SHA-256"):
        lab.verify(manifest)

    def cut_short(contents: Contents, step: object, old: object) -> object:
        if step.entry.path == b"large":  # type: ignore[attr-defined]
            raise RepositoryError("cut short", "")
        return keep(contents, step, old)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Contents, "keep", cut_short)
        with pytest.raises(RepositoryError, match="cut short"):
            lab.backup()
    anew = lab.backup()
    assert (anew.details["done"]["adopted"] + anew.details["done"]["uploaded"], anew.details["previous"]) == (4, "")
    assert anew.details["done"]["uploaded"] < 4
    assert lab.current() == contents(lab.root)
    lab.verify(anew)


@pytest.mark.parametrize("version", ["", "null"])
def test_an_upload_without_a_version_stops_the_run(
    lab: FilesLab, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write("a")
    monkeypatch.setattr(SmallObjects, "put", lambda *_: version)
    with pytest.raises(RepositoryError, match="without a version") as caught:
        lab.backup()
    assert "versioning" in caught.value.remedy
    assert not lab.catalog.backups()


def test_nearly_all_contents_at_once_are_asked_about_once(lab: FilesLab) -> None:
    def write(content: bytes) -> None:
        for number in range(30):
            lab.write(f"{number}", content)

    write(b"plain")
    lab.backup()
    for file in lab.root.iterdir():
        file.chmod(0o640)
        os.utime(file, ns=(TIME, TIME))
    assert lab.backup().details["losses"]["rewritten"] == 0  # only times and modes are other ones
    write(b"XXXXX")
    for file in lab.root.iterdir():
        os.utime(file, ns=(TIME, TIME))
    with pytest.raises(SourceError, match=r"30 of 30 files \(100%\) have another content"):
        lab.backup()
    assert set(lab.current().values()) == {b"plain"}
    # a person agrees; from then on it is usual here
    source, writer = lab.source(), lab.writer()
    manifest = source.sync(writer, source.scan(writer, Cancellation()), Cancellation()).sealed()
    lab.catalog.seal(manifest, FilesEngine().restore_script(manifest, ""))
    write(b"other")
    assert lab.backup().details["done"]["uploaded"] == 30


def test_large_files_that_are_encrypted_in_place_are_asked_about(
    lab: FilesLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALL_BYTES", 1)
    monkeypatch.setattr(YOUNG, 0)

    def write(content: bytes) -> None:
        for number in range(30):
            os.utime(lab.write(f"{number}", content), ns=(TIME, TIME))

    write(b"plain")
    lab.backup()
    for file in lab.root.iterdir():
        os.chown(file, 1234, 1234)
    assert lab.backup().details["losses"]["rewritten"] == 0
    write(b"XXXXX")
    with pytest.raises(SourceError, match=r"30 of 30 files \(100%\) have another content"):
        lab.backup()


def test_an_empty_tree_and_a_vanished_mount_are_said(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it has no files" in in_words(lab.backup())
    for number in range(10):
        lab.write(f"{number}")
    lab.write("mnt/below/file")
    lab.write("mnt/gone/file")
    lstat = os.lstat

    def mounted(path: bytes | str, **more: int) -> object:
        found = lstat(path, **more)
        if isinstance(path, bytes) and b"/mnt" in path:
            return SimpleNamespace(
                **{name: getattr(found, name) for name in dir(found) if name.startswith("st_")} | {"st_dev": 7}
            )
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", mounted)
        lab.backup()
        shutil.rmtree(lab.root / "mnt/gone")
        assert warnings(lab.backup()) == []
    shutil.rmtree(lab.root / "mnt/below")
    assert warnings(lab.backup()) == ["no file systems of their own any more: mnt/"]


def test_extended_attributes_and_names_are_kept_and_noticed(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(YOUNG, 0)
    file = lab.write("folder/file")
    os.link(file, lab.root / "folder/twin")
    nobody = 2**32 - 1
    entries = ((1, 6, nobody), (2, 4, 1234), (4, 0, nobody), (16, 6, nobody), (32, 0, nobody))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(file, "user.comment", b"\xff")
    os.setxattr(file, "system.posix_acl_access", acl)
    manifest = lab.backup()
    assert "2 with other names (hard links)" in in_words(manifest)
    tree = lab.tree(manifest)
    for path in (b"folder/file", b"folder/twin"):
        kept = {name: b64decode(value) for name, value in tree[path].xattrs.items()}
        assert kept == {"user.comment": b"\xff", "system.posix_acl_access": acl}
        assert tree[path].links == 2
    assert tree[b"folder/file"].inode == tree[b"folder/twin"].inode
    os.setxattr(lab.root / "folder", "user.of", b"the folder")
    os.removexattr(file, "user.comment")
    manifest = lab.backup()
    tree = lab.tree(manifest)
    assert list(tree[b"folder/"].xattrs) == ["user.of"]
    assert list(tree[b"folder/twin"].xattrs) == ["system.posix_acl_access"]
    assert manifest.details["done"]["uploaded"] == 0
    assert lab.tree(lab.backup()) == tree


def test_a_large_folder_that_is_renamed_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def entries(folder: str) -> Iterator[Entry]:
        for number in range(60_000):
            yield Entry(
                f"{folder}/{number:06}".encode(), FileType.FILE, size=1, inode=number + 1, sha256="0", ctime_ns=1
            )

    before = ((b"", json.loads(to_line(entry))) for entry in entries("before"))
    monkeypatch.setattr(plan, "documents", lambda _: before)
    tree: Any = SimpleNamespace(scan=lambda _: entries("renamed"), look_closer=lambda entry: entry)
    found = Plan(tree, tree, rehash=False, cancellation=Cancellation())
    assert sum(1 for _ in found.differences()) == 120_000
    assert found.losses() == Losses(60_000, 0, 0, now=60_000)
