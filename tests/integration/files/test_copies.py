"""Buckets as sources, copies in other repositories, and what retention removes."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_playbook.core.errors import RepositoryError, RestoreError, SourceError, VerificationError
from backup_playbook.core.model import Manifest
from backup_playbook.engines.backup import Depth
from backup_playbook.engines.files import bucket
from backup_playbook.engines.files.bucket import BucketTree
from backup_playbook.engines.files.copies import copy_files
from backup_playbook.engines.files.history import versions_of
from backup_playbook.engines.files.retention import remove_unnamed
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.source import FilesOptions, FilesSource
from backup_playbook.engines.files.to_bucket import BucketRestore
from backup_playbook.repository.listing import ListedVersion
from backup_playbook.repository.removal import remove_backup, sweep
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation
from embedded.s3 import S3Gateway
from tests.integration.files.lab import NOT_UTF8, SOURCE, FilesLab, fill, make_lab, state
from tests.integration.files.restore_sh import run_restore_sh
from tests.integration.files.test_restore import restore, script_of


def copy(lab: FilesLab, offsite: FilesLab, manifest: Manifest) -> bool:
    return copy_files(lab.reader(manifest), offsite.catalog, FilesOptions(), Cancellation())


def test_a_copy_names_its_own_versions(lab: FilesLab, offsite: FilesLab, tmp_path: Path) -> None:
    fill(lab)
    manifest = lab.backup()
    assert copy(lab, offsite, manifest)
    assert not copy(lab, offsite, manifest)
    copied = offsite.catalog.manifest(SOURCE, manifest.backup_id)
    assert copied.origin_seal == manifest.seal
    for depth in (Depth.FULL, Depth.CHECKSUMS):
        assert offsite.verify(manifest, depth).manifest_seal == copied.seal
    versions = {path: entry.version for path, entry in lab.tree(manifest).items()}
    assert versions[b"a.txt"] != offsite.tree(copied)[b"a.txt"].version
    restore(offsite, copied, tmp_path / "copy")
    assert state(tmp_path / "copy") == state(lab.root)


def test_the_next_copy_brings_what_changed(lab: FilesLab, offsite: FilesLab) -> None:
    for number in range(8):
        lab.write(str(number), b"%d" % number)
    copy(lab, offsite, lab.backup())
    lab.write("1", b"changed")
    (lab.root / "2").rename(lab.root / "renamed")
    (lab.root / "3").unlink()
    os.utime(lab.root / "4", ns=(5, 5))
    manifest = lab.backup()
    copy(lab, offsite, manifest)
    copied = offsite.catalog.manifest(SOURCE, manifest.backup_id)
    assert copied.details["done"] | {"same": 0} == {
        "uploaded": 1, "renamed": 1, "same": 0, "silently_changed": 0, "deleted": 2, "gone": 0,
        "adopted": 0, "healed": 0,
    }  # fmt: skip
    assert offsite.current() == lab.current()
    offsite.verify(manifest)


def test_a_copy_follows_what_changed_in_silence(
    lab: FilesLab, offsite: FilesLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_playbook.engines.files.directory.YOUNG_NS", 0)
    lab.write("rots", b"before")
    copy(lab, offsite, lab.backup())
    read = os.read
    monkeypatch.setattr(os, "read", lambda *what: read(*what).replace(b"before", b"rotten"))
    manifest = lab.backup(lab.source(rehash_every=1))
    copy(lab, offsite, manifest)
    assert offsite.current() == lab.current() == {"rots": b"rotten"}
    offsite.verify(manifest)


def test_an_older_backup_that_is_copied_late_leaves_the_current_state(
    lab: FilesLab, offsite: FilesLab, tmp_path: Path
) -> None:
    for number in range(8):
        lab.write(str(number), b"%d" % number)
    lab.write("changed", b"first")
    lab.write("large", b"first" + bytes(5 << 20))
    lab.write(NOT_UTF8, b"first")
    copy(lab, offsite, lab.backup())
    lab.write("changed", b"second")
    lab.write("large", b"second" + bytes(5 << 20))
    lab.write(NOT_UTF8, b"second")
    lab.write("gone", b"second")
    (lab.root / "7").rename(lab.root / "renamed")
    older = lab.backup()  # its copy fails
    was = state(lab.root)
    lab.write("changed", b"third")
    lab.write(NOT_UTF8, b"third")
    (lab.root / "gone").unlink()
    (lab.root / "renamed").rename(lab.root / "again")
    lab.write("new")
    newer = lab.backup()
    copy(lab, offsite, newer)
    assert copy(lab, offsite, older)  # it is cleared
    assert offsite.current() == lab.current()
    for manifest in (older, newer):
        offsite.verify(manifest)
    copied = offsite.catalog.manifest(SOURCE, older.backup_id)
    restore(offsite, copied, tmp_path / "older")
    assert state(tmp_path / "older") == was
    current = [one for one in versions_of(offsite.store, SOURCE, "changed") if one.current and not one.deleted]
    assert [one.version for one in current] == [offsite.tree(newest_of(offsite))[b"changed"].version]
    assert not any(one.current and not one.deleted for one in versions_of(offsite.store, SOURCE, "gone"))
    (lab.root / "1").unlink()
    last = lab.backup()
    copy(lab, offsite, last)
    assert offsite.current() == lab.current()
    offsite.verify(last)
    later = datetime.now(UTC) + timedelta(hours=1)
    remove_backup(offsite.store, SOURCE, older.backup_id)
    # `changed`, `gone`, the renamed one and the one that is not UTF-8: their contents were only in that backup
    assert remove_unnamed(offsite.catalog, SOURCE, timedelta(), later).versions >= 4
    offsite.verify(last)
    assert offsite.current() == lab.current()


def newest_of(lab: FilesLab) -> Manifest:
    return lab.catalog.manifest(SOURCE, lab.catalog.backups()[0].backup_id)


def test_a_damaged_content_is_not_copied(lab: FilesLab, offsite: FilesLab) -> None:
    lab.write("a", b"one")
    manifest = lab.backup()
    (lab.s3.buckets / lab.store.bucket / "playbook/current/uploads/a").write_bytes(b"two")
    with pytest.raises(VerificationError, match="SHA-256"):
        copy(lab, offsite, manifest)
    assert offsite.catalog.backups() == []


def beside(lab: FilesLab, prefix: str) -> ObjectStore:
    return ObjectStore(lab.store.client, bucket=lab.store.bucket, prefix=prefix)


def bucket_source(lab: FilesLab, prefix: str = "live") -> tuple[ObjectStore, FilesSource]:
    live = beside(lab, prefix)
    return live, FilesSource(BucketTree(live))


def test_a_bucket_as_source(lab: FilesLab, s3: S3Gateway, tmp_path: Path) -> None:
    live, source = bucket_source(make_lab(s3, tmp_path / "unused"))
    live.put("a", b"one")
    live.put("folder/b", b"two")
    live.put("folder/gone", b"three")
    first = lab.backup(source)
    live.put("a", b"two")
    live.delete(["folder/gone"])
    second = lab.backup(source)
    assert lab.current() == {"a": b"two", "folder/b": b"two"}
    assert second.details["done"]["uploaded"] == 1
    lab.verify(second)
    restore(lab, first, tmp_path / "copy")
    assert (tmp_path / "copy/folder/gone").read_bytes() == b"three"


def test_other_headers_of_the_same_content_reach_the_copy(
    lab: FilesLab, offsite: FilesLab, s3: S3Gateway, tmp_path: Path
) -> None:
    live, source = bucket_source(make_lab(s3, tmp_path / "unused"))
    for kind in ("text/plain", "text/html"):
        live.client.put_object(Bucket=live.bucket, Key=live.path("a"), Body=b"one", ContentType=kind)
        manifest = lab.backup(source)
        copy(lab, offsite, manifest)
        copied = offsite.catalog.manifest(SOURCE, manifest.backup_id)
        for tree in (lab.tree(manifest), offsite.tree(copied)):
            assert tree[b"a"].object_headers["ContentType"] == kind
    assert copied.details["done"]["uploaded"] == 0


ODD_KEYS = ("./a", "/x", "a/../b", "a//b", "folder//")


def test_keys_that_no_directory_can_hold_are_left_out_and_named(
    lab: FilesLab, s3: S3Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, source = bucket_source(make_lab(s3, tmp_path / "unused"))
    live.put("folder/b", b"two")
    real = bucket.list_versions

    def with_odd_keys(store: ObjectStore, prefix: str) -> Iterator[ListedVersion]:
        """The embedded store is a file system, and has no such keys; S3 has."""
        odd = [ListedVersion(key, "v1", 3 * (key[-1] != "/"), datetime.now(UTC), True, False) for key in ODD_KEYS]
        return iter(sorted([*real(store, prefix), *odd], key=lambda item: item.path))

    monkeypatch.setattr(bucket, "list_versions", with_odd_keys)
    for _ in range(2):
        manifest = lab.backup(source)
        assert manifest.details["outcomes"] == {"nameless": 5}
        assert {example["path"] for example in manifest.details["examples"]} == set(ODD_KEYS)
        assert lab.current() == {"folder/b": b"two"}
    lab.verify(manifest)
    restore(lab, manifest, tmp_path / "copy")
    assert (tmp_path / "copy/folder/b").read_bytes() == b"two"
    with pytest.raises(RestoreError, match="no directory can hold this key"):
        restore(lab, manifest, tmp_path / "copy", b"a//b")
    target = ScratchDirectory(tmp_path, "scratch")
    target.create(manifest)
    target.restore(lab.reader(manifest), Cancellation())
    assert target.prove(lab.reader(manifest), Cancellation()).left_out == ODD_KEYS
    result = run_restore_sh(script_of(lab, manifest), tmp_path, lab.s3.shell_environment(), str(tmp_path / "by-script"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "by-script/folder/b").read_bytes() == b"two"
    assert BucketRestore(lab.reader(manifest), beside(lab, "elsewhere"), Cancellation()).run()["files"] == 1


def test_a_bucket_has_no_folders_and_they_get_the_usual_mode(lab: FilesLab, s3: S3Gateway, tmp_path: Path) -> None:
    live, source = bucket_source(make_lab(s3, tmp_path / "unused"))
    live.put("folder/below/b", b"two")
    restore(lab, lab.backup(source), tmp_path / "copy")
    (tmp_path / "usual").mkdir()
    for folder in ("folder", "folder/below"):
        assert (tmp_path / "copy" / folder).stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_bucket_without_versions_is_no_source(lab: FilesLab, s3: S3Gateway, tmp_path: Path) -> None:
    other = make_lab(s3, tmp_path / "unused")
    live, source = bucket_source(other)
    live.client.put_bucket_versioning(Bucket=live.bucket, VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(SourceError, match="suspended"):
        lab.backup(source)


def test_replication_that_the_store_does_not_know_is_no_replication(
    lab: FilesLab, s3: S3Gateway, tmp_path: Path
) -> None:
    live, _ = bucket_source(make_lab(s3, tmp_path / "unused"))
    with pytest.raises(SourceError, match="NotImplemented") as error:
        lab.backup(FilesSource(BucketTree(live, replica="replica")))
    assert "remove `replication`" in error.value.remedy


def test_retention_removes_what_no_backup_names(lab: FilesLab, tmp_path: Path) -> None:
    for number in range(8):
        lab.write(f"keep{number}")
    lab.write("deleted", b"1")
    lab.write("changed", b"1")
    lab.write(b"caf\xe9", b"1")
    first = lab.backup()
    (lab.root / "deleted").unlink()
    lab.write("changed", b"22")
    lab.write(b"caf\xe9", b"22")
    second = lab.backup()
    lab.write("changed", b"333")
    third = lab.backup()
    later = datetime.now(UTC) + timedelta(hours=1)
    assert remove_unnamed(lab.catalog, SOURCE, timedelta(), later).versions == 0
    remove_backup(lab.store, SOURCE, first.backup_id)
    assert remove_unnamed(lab.catalog, SOURCE, timedelta(hours=2), later) == (0, 0)
    removed = remove_unnamed(lab.catalog, SOURCE, timedelta(), later)
    # of `deleted` the version and its delete marker, of the two others a version each; the tree and its delete marker
    assert removed.versions == 4
    assert removed.shards >= 2
    for manifest in (second, third):
        lab.verify(manifest)
        restore(lab, manifest, tmp_path / manifest.backup_id)
    assert (tmp_path / second.backup_id / "changed").read_bytes() == b"22"


def test_uploads_of_workers_that_were_killed_are_swept(lab: FilesLab) -> None:
    lab.write("a")
    lab.backup()
    where = {"Bucket": lab.store.bucket}
    for key in (f"current/{SOURCE}/large", f"current-hashed/{SOURCE}/0123", f"current/{SOURCE}2/large"):
        path = lab.store.path(key)
        upload = lab.store.client.create_multipart_upload(**where, Key=path)["UploadId"]
        lab.store.client.upload_part(**where, Key=path, UploadId=upload, PartNumber=1, Body=b"part")
    now = datetime.now(UTC)
    assert sweep(lab.catalog, SOURCE, timedelta(hours=24), now + timedelta(hours=23)).uploads == 0
    assert sweep(lab.catalog, SOURCE, timedelta(hours=24), now + timedelta(hours=25)).uploads == 2
    # that of another source is not ours
    assert [item.key for item in lab.store.unfinished_uploads("current")] == [f"current/{SOURCE}2/large"]
    assert lab.current() == {"a": b"content"}


def test_retention_removes_nothing_when_a_tree_is_damaged_or_the_catalog_is_empty(lab: FilesLab) -> None:
    lab.write("a", b"1")
    first = lab.backup()
    lab.write("a", b"2")
    second = lab.backup()
    remove_backup(lab.store, SOURCE, first.backup_id)
    (shard,) = second.objects
    file = lab.s3.buckets / lab.store.bucket / f"playbook/objects/{SOURCE}/{second.backup_id}/{shard.name}"
    file.write_bytes(file.read_bytes()[:-5] + b"wrong")
    later = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(VerificationError):
        remove_unnamed(lab.catalog, SOURCE, timedelta(), later)
    remove_backup(lab.store, SOURCE, second.backup_id)
    assert remove_unnamed(lab.catalog, SOURCE, timedelta(), later) == (0, 0)
    assert lab.current() == {"a": b"2"}


def test_a_store_with_an_order_of_its_own_loses_nothing(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_playbook.engines.files import retention, verify

    lab.write("a")
    lab.write("b")
    manifest = lab.backup()
    real = retention.list_versions
    for module in (retention, verify):
        monkeypatch.setattr(module, "list_versions", lambda *arguments: iter(list(real(*arguments))[::-1]))
    lab.verify(manifest)
    with pytest.raises(RepositoryError, match="not the order of S3"):
        remove_unnamed(lab.catalog, SOURCE, timedelta(), datetime.now(UTC) + timedelta(hours=1))
    assert len(lab.current()) == 2
