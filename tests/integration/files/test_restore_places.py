"""What a directory and its owner allow: modes, owners, ACLs, what is there already, what the system refuses."""

import errno
import os
import struct
from pathlib import Path

import pytest

from backup_playbook.core.errors import RestoreError, UnequalError
from backup_playbook.engines.files.place import Place
from backup_playbook.engines.files.restore import FilesRestore
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.unrestored import Unrestored
from backup_playbook.streams.processes import Cancellation
from tests.integration.files.lab import FilesLab, state
from tests.integration.files.test_restore import restore
from tests.integration.files.test_restore_losses import by_script
from tests.support.ordinary_user import ordinary_user


def test_modes_that_keep_their_owner_out(lab: FilesLab, open_folder: Path) -> None:
    modes = {"closed": 0o000, "blind": 0o311, "fixed": 0o555, "closed/in/writable": 0o222, "blind/secret": 0o000}
    for name in ("closed/in/writable", "blind/secret", "fixed/file", "blind/in/fixed/file"):
        lab.write(name)
    for name, mode in modes.items():
        (lab.root / name).chmod(mode)
    manifest = lab.backup()
    target = ScratchDirectory(open_folder, "new")
    with ordinary_user(open_folder):
        target.create(manifest)
        target.restore(lab.reader(manifest), Cancellation())
        target.prove(lab.reader(manifest), Cancellation())
    copied = state(target.root)
    assert {name: value[:2] + value[4:] for name, value in copied.items()} == {
        name: value[:2] + value[4:] for name, value in state(lab.root).items()
    }
    with ordinary_user(open_folder):
        blind = target.root / "blind"
        was = blind.stat().st_mtime_ns
        (blind / "extra").write_bytes(b"")
        os.utime(blind, ns=(was, was))
        with pytest.raises(UnequalError, match="blind/extra"):
            target.prove(lab.reader(manifest), Cancellation())
        target.drop()
    assert not target.root.exists()


def test_in_place_what_is_right_stays_as_it_is(lab: FilesLab) -> None:
    for name in ("folder/equal", "folder/gone", "folder/changed", "folder/written"):
        os.utime(lab.write(name, name.encode()), ns=(10**18, 10**18))
    manifest = lab.backup()
    equal, folder = lab.root / "folder/equal", lab.root / "folder"
    equal.chmod(0o600)
    os.chown(equal, 65534, 65534)
    os.utime(equal, ns=(7, 7))
    folder.chmod(0o700)
    (lab.root / "folder/gone").unlink()
    os.utime(lab.write("folder/changed", b"damaged"), ns=(5, 5))
    lab.write("folder/written", b"since")
    with Place(lab.root, set_aside=b".replaced/") as place:
        work = FilesRestore(lab.reader(manifest), place, Cancellation())
        assert work.run() == {"folders": 1, "files": 2, "right_already": 1, "kept_newer": 1}
        assert work.prove() == {"file": 2, "other_attributes": 2, "kept_newer": 1}
    found = equal.stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_mtime_ns) == (0o600, 65534, 7)
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert (folder / "gone").read_bytes() == b"folder/gone"


def test_in_place_as_an_ordinary_worker(lab: FilesLab, open_folder: Path) -> None:
    lab.root = open_folder / "live"
    for name in ("mine", "others", "shut/file", "gone"):
        lab.write(name)
    manifest = lab.backup()
    (lab.root / "gone").unlink()
    lab.write("shut/file", b"damaged")
    (lab.root / "shut").chmod(0o700)
    with ordinary_user(lab.root), Place(lab.root, set_aside=b".replaced/") as place:
        work = FilesRestore(lab.reader(manifest), place, Cancellation(), overwrite_newer=True)
        with pytest.raises(RestoreError, match=r"1 path could not be restored.*shut/file.*Permission denied"):
            work.run()
        with pytest.raises(UnequalError, match="shut/file cannot be restored or read: Permission denied"):
            work.prove()
    assert (lab.root / "gone").read_bytes() == b"content"
    assert (lab.root / "others").stat().st_uid == 0, "an equal file of another owner is nobody's business"


def test_in_place_a_link_is_not_taken_for_a_folder(lab: FilesLab, tmp_path: Path) -> None:
    for name in ("data/x", "data/deep/y", "other", "was/z"):
        lab.write(name)
    manifest = lab.backup()
    (lab.root / "data").rename(tmp_path / "larger")
    (lab.root / "data").symlink_to(tmp_path / "larger")
    (tmp_path / "larger/x").unlink()
    (lab.root / "other").unlink()
    (lab.root / "was/z").unlink()
    (lab.root / "was").rmdir()
    lab.write("was")
    with Place(lab.root, set_aside=b".replaced/") as place:
        for path in (b"", b"data/x"):
            work = FilesRestore(lab.reader(manifest), place, Cancellation(), path)
            outlook = {entry.path: what for what, entry in work.preview(Unrestored(work.reader))}
            assert outlook[b"data/x"] == "impossible"
            if not path:
                assert outlook == dict.fromkeys((b"data/", b"data/deep/", b"data/deep/y", b"data/x"), "impossible") | {
                    b"other": "missing", b"was/": "replaced", b"was/z": "missing"
                }  # fmt: skip
            with pytest.raises(RestoreError, match="data is a symbolic link, where the backup has a folder"):
                work.run()
    assert (lab.root / "data").is_symlink()
    assert [path.name for path in (tmp_path / "larger").rglob("*")] == ["deep", "y"]
    assert {(lab.root / name).read_bytes() for name in ("other", "was/z")} == {b"content"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_replaced_needs_a_folder(lab: FilesLab, kind: str) -> None:
    lab.write("a")
    manifest = lab.backup()
    lab.write("a", b"changed")
    if kind == "file":
        lab.write(".replaced", b"")
    else:
        (lab.root / ".replaced").symlink_to("/tmp")
    with pytest.raises(RestoreError, match=r"\.replaced is no folder") as caught:
        restore(lab, manifest, lab.root, in_place=True, newer=True)
    assert "Nothing was changed" in caught.value.remedy
    assert (lab.root / "a").read_bytes() == b"changed"


def test_what_was_set_aside_is_no_obstacle(lab: FilesLab) -> None:
    lab.write("a/b")
    manifest = lab.backup()
    for number in range(2):
        lab.write(".replaced/a", b"set aside before")
        lab.write("a/b", b"changed %d" % number)
        restore(lab, manifest, lab.root, in_place=True, newer=True)
    assert (lab.root / ".replaced/a").read_bytes() == b"set aside before"
    assert (lab.root / ".replaced/a~1/b").read_bytes() == b"changed 0"
    assert (lab.root / ".replaced/a~1/b~1").read_bytes() == b"changed 1"


def test_what_the_system_refuses_is_a_sentence(lab: FilesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        lab.write(name)
    manifest, rename = lab.backup(), os.rename
    failing = errno.EPERM

    def refuse(origin: bytes, target: bytes, **where: int) -> None:
        if target == b"b":
            raise OSError(failing, os.strerror(failing))
        rename(origin, target, **where)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(RestoreError, match=r"1 path .*copy/b cannot be restored or read: Operation not permitted"):
        restore(lab, manifest, tmp_path / "copy")
    assert set(state(tmp_path / "copy")) == {"a", "c"}
    failing = errno.ENOSPC
    with pytest.raises(RestoreError, match=r"copy2/b cannot be restored or read: No space left") as caught:
        restore(lab, manifest, tmp_path / "copy2")
    assert caught.value.remedy.startswith("Free some space")


ACL, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def acl(group: int, mask: int) -> bytes:
    """user::rw-, user:65534:rw-, group, mask, other::---"""
    nobody = 0xFFFFFFFF
    lines = [(1, 6, nobody), (2, 6, 65534), (4, group, nobody), (16, mask, nobody), (32, 0, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *line) for line in lines)


def test_acls_and_attributes(lab: FilesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, twin = lab.write("folder/file"), lab.root / "twin"
    os.link(file, twin)
    os.setxattr(file, ACL, acl(group=0, mask=6))
    os.setxattr(file, "user.note", b"\0\xff")
    os.setxattr(lab.root / "folder", DEFAULT, acl(group=7, mask=7))
    lab.write("folder/plain")
    os.removexattr(lab.root / "folder/plain", ACL)
    (lab.root / "folder/plain").chmod(0o640)
    assert file.stat().st_mode & 0o777 == 0o660
    manifest = lab.backup()
    done = restore(lab, manifest, tmp_path / "copy")
    assert done.counts["hard_links"] == 2
    for root in (tmp_path / "copy", tmp_path / "sh"):
        if root.name == "sh":
            assert by_script(lab, manifest, tmp_path).returncode == 0
        assert os.getxattr(root / "folder/file", ACL) == acl(group=0, mask=6)
        assert os.getxattr(root / "folder/file", "user.note") == b"\0\xff"
        assert os.getxattr(root / "folder", DEFAULT) == acl(group=7, mask=7)
        assert state(root) == state(lab.root)
    assert ACL not in os.listxattr(tmp_path / "copy/folder/plain"), "not that of its folder either"
    os.setxattr(tmp_path / "copy/folder/file", ACL, acl(group=6, mask=6))
    with done.place, pytest.raises(UnequalError, match=r"it has another system\.posix_acl_access"):
        done.prove()

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", refuse)
    target = ScratchDirectory(tmp_path, "new")
    target.create(manifest)
    target.restore(lab.reader(manifest), Cancellation())
    assert (target.root / "folder/file").stat().st_mode & 0o777 == 0o600, "the group had nothing"
    assert target.prove(lab.reader(manifest), Cancellation()).left_out == (
        "extended attributes (ACLs, say) of 3 paths",
    )


def test_owners_are_proven(lab: FilesLab, tmp_path: Path) -> None:
    lab.write("a")
    done = restore(lab, lab.backup(), tmp_path / "copy")
    os.chown(tmp_path / "copy/a", 65534, 65534)
    with done.place, pytest.raises(UnequalError, match=r"a: owner \(65534, 65534\) instead of \(0, 0\)"):
        done.prove()
