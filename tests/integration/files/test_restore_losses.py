"""One path that cannot be brought back costs no other, and is named with the way to it."""

import errno
import os
import struct
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from backup_playbook.core.errors import RepositoryError, RestoreError, UnequalError, VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.core.tree import Entry
from backup_playbook.engines.files.bucket import BucketTree
from backup_playbook.engines.files.place import Place
from backup_playbook.engines.files.restore import FilesRestore
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.source import FilesSource
from backup_playbook.engines.files.to_bucket import BucketRestore
from backup_playbook.repository.quick import QuickRequests
from backup_playbook.repository.s3errors import explained
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation
from tests.integration.files.lab import FilesLab, state
from tests.integration.files.restore_sh import run_restore_sh
from tests.integration.files.test_restore import hostile, restore, script_of
from tests.support.damage import flip_a_bit
from tests.support.ordinary_user import ordinary_user


def stored_file(lab: FilesLab, path: str) -> Path:
    return lab.s3.buckets / lab.store.bucket / "playbook/current/uploads" / path


def by_script(lab: FilesLab, manifest: Manifest, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return run_restore_sh(script_of(lab, manifest), folder, lab.s3.shell_environment(), str(folder / "sh"), *words)


@pytest.fixture
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ordinary users reach."""
    return tmp_path_factory.mktemp("open")


@pytest.fixture
def damaged(lab: FilesLab) -> Manifest:
    """40 files, of which one is damaged and one is gone with all its versions, in a folder with a mode of its own."""
    for number in range(40):
        lab.write(f"folder/{number:02}", b"content %d" % number)
    (lab.root / "folder").chmod(0o750)
    manifest = lab.backup()
    flip_a_bit(stored_file(lab, "folder/17"))
    key = lab.store.path("current/uploads/folder/23")
    version = lab.tree(manifest)[b"folder/23"].version
    lab.store.client.delete_object(Bucket=lab.store.bucket, Key=key, VersionId=version)
    return manifest


def test_damaged_and_missing_contents_cost_no_others(
    lab: FilesLab, damaged: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(VerificationError, match=r"2 paths could not be restored\. All others are in") as caught:
        restore(lab, damaged, tmp_path / "copy")
    assert not isinstance(caught.value, UnequalError)
    assert "off-site copy (*Repository*)" in caught.value.remedy
    assert [problem.partition(":")[0] for problem in sorted(caught.value.problems)] == ["folder/17", "folder/23"]
    assert "'folder/23'" in caplog.text
    assert "NoSuchVersion" in caplog.text or "NoSuchKey" in caplog.text
    expected = {name: found for name, found in state(lab.root).items() if name not in ("folder/17", "folder/23")}
    assert state(tmp_path / "copy") == expected, "with all modes and times, also of the folder"

    result = by_script(lab, damaged, tmp_path)
    assert result.returncode == 1
    assert "2 files could not be restored, or are damaged" in result.stderr
    assert result.stderr.count("is not restored") == 2
    assert state(tmp_path / "sh") == expected


def test_all_but_these(lab: FilesLab, damaged: Manifest, tmp_path: Path) -> None:
    target = ScratchDirectory(tmp_path, "new", without=["folder/17", "folder/23"])
    target.create(damaged)
    target.restore(lab.reader(damaged), Cancellation())
    proof = target.prove(lab.reader(damaged), Cancellation())
    assert proof.schema_objects == 39
    assert proof.left_out == ("folder/17", "folder/23")
    store = ObjectStore(lab.store.client, bucket=lab.store.bucket, prefix="elsewhere")
    for without in ([], ["folder/17", "/folder/23"], ["folder"]):
        into = BucketRestore(lab.reader(damaged), store, Cancellation(), without=without)
        if without:
            assert into.run() == into.prove() | into.counts
        else:
            with pytest.raises(VerificationError, match="2 paths could not be restored"):
                into.run()
            assert into.counts["files"] == 38
    with pytest.raises(RestoreError, match="has no 'folder/1'"):
        BucketRestore(lab.reader(damaged), store, Cancellation(), without=["folder/1"]).run()


def test_a_damaged_list_costs_no_other_list(
    lab: FilesLab, tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_playbook.engines.files.shards.ENTRIES_PER_SHARD", 5)
    for number in range(20):
        lab.write(f"{number:02}")
    manifest = lab.backup()
    folder = lab.s3.buckets / lab.store.bucket / f"playbook/objects/uploads/{manifest.backup_id}"
    flip_a_bit(folder / manifest.objects[1].name)
    (folder / manifest.objects[2].name).unlink()
    with pytest.raises(VerificationError, match=r"The list of 5 paths from '05' to '09' cannot be used"):
        restore(lab, manifest, tmp_path / "copy")
    there = {f"{number:02}" for number in (*range(5), *range(15, 20))}
    assert set(state(tmp_path / "copy")) == there
    with ordinary_user(open_folder), pytest.raises(VerificationError, match="2 paths could not be restored"):
        restore(lab, manifest, open_folder / "copy")
    assert set(state(open_folder / "copy")) == there
    restore(lab, manifest, tmp_path / "other", b"16")
    with pytest.raises(VerificationError, match="cannot be used"):
        restore(lab, manifest, tmp_path / "other", b"06")
    result = by_script(lab, manifest, tmp_path)
    assert (result.returncode, set(state(tmp_path / "sh"))) == (1, there)
    assert "5 paths from 05 to 09 are unknown" in result.stderr


@pytest.mark.parametrize("code", ["InvalidObjectState", "AccessDenied", "KMS.DisabledException", "ExpiredToken", ""])
def test_one_object_that_cannot_be_read_and_a_store_that_cannot(
    lab: FilesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    for name in "abc":
        lab.write(name)
    manifest, read = lab.backup(), QuickRequests.read

    def refuse(self: QuickRequests, key: str, version: str, size: int) -> Blocks:
        if not key.endswith("/b"):
            return read(self, key, version, size)
        with explained(f"read {key}"):
            if code:
                raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")
            raise EndpointConnectionError(endpoint_url="http://store")

    monkeypatch.setattr(QuickRequests, "read", refuse)
    of_all = code in ("ExpiredToken", "")
    with pytest.raises(RepositoryError if of_all else RestoreError) as caught:
        restore(lab, manifest, tmp_path / "copy")
    assert of_all or "1 path could not be restored" in str(caught.value)
    assert of_all or set(state(tmp_path / "copy")) == {"a", "c"}


ODD = (b"a", b"a-b", b"a/b", b"a/c/d", b"d/", b"d/x", b"e", b"long/" + b"n" * 300, b"z/c")


def test_keys_that_a_directory_cannot_hold(lab: FilesLab, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = hostile(lab, *(Entry(path, "file") for path in ODD))
    with pytest.raises(RestoreError, match="3 paths could not be restored") as caught:
        restore(lab, manifest, tmp_path / "copy")
    assert not isinstance(caught.value, VerificationError)
    assert caplog.text.count("aws s3api get-object --bucket") == 3
    there = {"a-b", "a", "a/b", "a/c", "a/c/d", "d", "d/x", "e", "z", "z/c"}
    assert set(state(tmp_path / "copy")) - {"long"} == there
    restore(lab, manifest, tmp_path / "alone", b"a-b")
    restore(lab, manifest, tmp_path / "alone", b"a")
    assert (tmp_path / "alone/a").read_bytes() == b"payload"

    result = by_script(lab, manifest, tmp_path)
    assert result.returncode == 1
    assert "3 files could not be restored" in result.stderr
    assert result.stderr.count("aws s3api get-object --bucket") == 3
    assert set(state(tmp_path / "sh")) - {"long"} == there

    target = ScratchDirectory(tmp_path, "new", without=["a", "d/", f"long/{'n' * 300}"])
    target.create(manifest)
    target.restore(lab.reader(manifest), Cancellation())
    target.prove(lab.reader(manifest), Cancellation())

    # S3 takes all but the long one, of which this store takes none
    store = ObjectStore(lab.store.client, bucket=lab.store.bucket, prefix="copy")
    into = BucketRestore(lab.reader(manifest), store, Cancellation())
    with pytest.raises(RestoreError, match="is no key for this store"):
        into.run()
    assert len(list(store.list(""))) == into.counts["files"] == len(ODD) - into.counts["failed"] >= 5


def test_any_key_of_a_bucket_goes_back_to_one(lab: FilesLab) -> None:
    keys = ["/".join(["k" * 120] * 8), "no\u00a0break", "narrow\u202fspace", "tab\there", "\U0001f469\u200d\U0001f4bb"]
    for key in keys:
        lab.write(key, key.encode())
    manifest = lab.backup()
    store = ObjectStore(lab.store.client, bucket=lab.store.bucket, prefix="copy")
    done = BucketRestore(lab.reader(manifest), store, Cancellation())
    assert done.run()["files"] == len(keys)
    assert done.prove()["files"] == len(keys)
    assert [store.get(key) for key in keys] == [key.encode() for key in keys]
    store.put("tab\there", b"another")
    store.delete([keys[0]])
    with pytest.raises(UnequalError, match=r"2 paths.*SHA-256") as caught:
        done.prove()
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("path", "found"),
    [("invoices", {"invoices", "invoices/1"}), ("/invoices/", {"invoices", "invoices/1"}), ("./a", {"a"}),
     ("invoice", None), ("invoice/", None), ("invoices/2", None), ("fifo", None)],
)  # fmt: skip
def test_restore_sh_of_a_path(lab: FilesLab, tmp_path: Path, path: str, found: set[str] | None) -> None:
    lab.write("a")
    lab.write("invoices/1")
    os.mkfifo(lab.root / "fifo")
    result = by_script(lab, lab.backup(), tmp_path, path)
    if found:
        assert (result.returncode, set(state(tmp_path / "sh"))) == (0, found)
    else:
        assert result.returncode == 1
        assert ("no content in this backup" if path == "fifo" else "The backup has no") in result.stderr
        assert "Restored" not in result.stdout


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


def test_objects_get_their_headers_back(lab: FilesLab) -> None:
    live = ObjectStore(lab.store.client, bucket=lab.store.bucket, prefix="live")
    where = {"Bucket": live.bucket, "Key": live.path("page")}
    headers = {"ContentType": "text/html", "CacheControl": "no-store", "Metadata": {"author": "eve"}}
    live.client.put_object(**where, **headers, Body=b"<p>", Tagging="team=web")
    live.put("large", os.urandom(5 << 20))
    manifest = lab.backup(FilesSource(BucketTree(live)))
    store = ObjectStore(lab.store.client, bucket=lab.store.bucket, prefix="copy")
    done = BucketRestore(lab.reader(manifest), store, Cancellation())
    assert done.run()["files"] == 2
    assert done.prove()["files"] == 2
    found = store.client.get_object(Bucket=store.bucket, Key=store.path("page"))
    assert {name: found[name] for name in headers} == headers
    tags = store.client.get_object_tagging(Bucket=store.bucket, Key=store.path("page"))["TagSet"]
    assert tags == [{"Key": "team", "Value": "web"}]
