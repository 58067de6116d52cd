"""One path that cannot be brought back costs no other, and is named with the way to it."""

import os
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from backup_playbook.core.errors import RepositoryError, RestoreError, UnequalError, VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.core.tree import Entry
from backup_playbook.engines.files.bucket import BucketTree
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.source import FilesSource
from backup_playbook.engines.files.to_bucket import BucketRestore
from backup_playbook.repository.s3errors import explained
from backup_playbook.repository.small_objects import SmallObjects
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
    manifest, read = lab.backup(), SmallObjects.read

    def refuse(self: SmallObjects, key: str, version: str, size: int) -> Blocks:
        if not key.endswith("/b"):
            return read(self, key, version, size)
        with explained(f"read {key}"):
            if code:
                raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")
            raise EndpointConnectionError(endpoint_url="http://store")

    monkeypatch.setattr(SmallObjects, "read", refuse)
    of_all = code in ("ExpiredToken", "")
    with pytest.raises(RepositoryError if of_all else RestoreError) as caught:
        restore(lab, manifest, tmp_path / "copy")
    assert of_all or "1 path could not be restored" in str(caught.value)
    assert of_all or set(state(tmp_path / "copy")) == {"a", "c"}


@pytest.mark.parametrize("code", ["InvalidObjectState", "AccessDenied", "InternalError"])
def test_a_list_of_paths_that_may_not_be_read_now_is_not_damaged(
    lab: FilesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    lab.write("a")
    manifest, read = lab.backup(), ObjectStore.read

    def refuse(self: ObjectStore, key: str, version: str = "") -> Blocks:
        with explained(f"read {key}"):
            if "/tree-" in key:
                raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")
        yield from read(self, key, version)

    monkeypatch.setattr(ObjectStore, "read", refuse)
    with pytest.raises(RestoreError, match=f"cannot be used: .*{code}") as caught:
        restore(lab, manifest, tmp_path / "copy")
    assert not isinstance(caught.value, VerificationError)
    with pytest.raises(RepositoryError, match=code):
        lab.backup()


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
