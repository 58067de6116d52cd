"""What goes wrong between two steps, or between two nights: nothing is lost, and nothing passes for what it is not."""

import os
from pathlib import Path

import pytest

from backup_playbook.core.errors import RepositoryError, RestoreError, SourceError, VerificationError
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.to_bucket import BucketRestore
from backup_playbook.repository import small_objects
from backup_playbook.repository.removal import remove_backup
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation
from tests.integration.files.lab import NOT_UTF8, SOURCE, FilesLab, state
from tests.integration.files.restore_sh import run_restore_sh
from tests.integration.files.test_restore import restore, script_of
from tests.support.backups import said
from tests.support.damage import flip_a_bit, refuse_to_read


def fill_many(lab: FilesLab, files: int = 30) -> None:
    for number in range(files):
        lab.write(f"{number:02}", b"%d" % number)


def test_a_directory_that_goes_away_after_the_guard_deletes_nothing(lab: FilesLab) -> None:
    fill_many(lab)
    lab.backup()
    before = lab.current()
    for number in range(30):
        lab.write(f"{number:02}", b"changed %d" % number)
    source, writer = lab.source(), lab.writer()
    draft = source.scan(writer, Cancellation())
    lab.root.rename(lab.root.with_name("away"))
    lab.root.mkdir()
    with pytest.raises(SourceError, match=r"30 of 30 files .* are lost"):
        source.sync(writer, draft, Cancellation())
    assert lab.current() == before


def test_an_old_scan_is_not_carried_out_after_a_newer_backup(lab: FilesLab) -> None:
    fill_many(lab)
    lab.backup()
    source, writer = lab.source(), lab.writer()
    lab.write("00", b"second")
    draft = source.scan(writer, Cancellation())
    lab.write("01", b"third")
    (lab.root / "02").unlink()
    newer = lab.backup()
    before = lab.current()
    with pytest.raises(SourceError, match=f"the backup {newer.backup_id} was sealed") as caught:
        source.sync(writer, draft, Cancellation())
    assert "clear its task `scan`" in caught.value.remedy
    assert lab.current() == before
    lab.verify(newer)


def test_a_clock_that_is_behind_leaves_the_current_state(lab: FilesLab, tmp_path: Path) -> None:
    fill_many(lab)
    late = lab.writer()
    newer = lab.backup()
    before = lab.current()
    lab.write("00", b"now")
    (lab.root / "01").unlink()
    manifest = take_backup(lab.source(), FilesEngine(), late, Cancellation())
    assert manifest.backup_id < newer.backup_id
    assert lab.current() == before
    lab.verify(manifest)
    restore(lab, manifest, tmp_path / "copy")
    assert state(tmp_path / "copy") == state(lab.root)
    following = lab.backup()
    assert set(lab.current()) == {path.decode() for path in files_of(lab, following)}
    assert lab.current()["00"] == b"now"


def test_after_a_rejection_losses_are_guarded_and_what_is_gone_goes(lab: FilesLab) -> None:
    fill_many(lab)
    lab.write("closed/inside")
    lab.write(NOT_UTF8)
    first = lab.backup()
    lab.catalog.add_evidence(SOURCE, first.backup_id, said(EvidenceKind.REJECTED, what="damaged"))
    for number in range(1, 30):
        (lab.root / f"{number:02}").rename(lab.root.parent / f"{number:02}")
    with pytest.raises(SourceError, match=r"29 of 32 files .* are lost"):
        lab.backup()
    for number in range(4, 30):
        (lab.root.parent / f"{number:02}").rename(lab.root / f"{number:02}")
    (lab.root / "20").rename(lab.root / "renamed")
    second = lab.backup()
    assert (second.details["previous"], second.details["done"]["uploaded"]) == ("", 29)
    assert second.details["done"]["deleted"] == 4
    assert set(lab.current()) == {path.decode() for path in files_of(lab, second)}
    lab.verify(second)


def test_a_content_that_its_disk_does_not_give_hides_no_other(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_many(lab)
    first = lab.backup()
    monkeypatch.setattr(small_objects, "SMALL_BYTES", 0)  # it is botocore that says what cannot be read
    refuse_to_read(monkeypatch, lab.store, lambda key: key.endswith("uploads/03"))
    with pytest.raises(RepositoryError, match=r"uploads/03 .*InternalError"):
        lab.verify(first)
    assert not lab.catalog.entry(SOURCE, first.backup_id).rejected
    flip_a_bit(lab.s3.buckets / lab.store.bucket / "playbook/current/uploads/04")
    with pytest.raises(VerificationError, match="uploads/04"):
        lab.verify(first)


def test_what_a_removed_backup_has_added_is_read_by_the_next_one_alone(lab: FilesLab) -> None:
    lab.write("f", b"f" * 1000)
    lab.write("g", b"g" * 1000)
    taken = []
    for number in range(3):
        lab.write("n", b"%d" % number)
        taken.append(lab.backup())
        lab.verify(taken[-1])
    remove_backup(lab.store, SOURCE, taken[0].backup_id)
    flip_a_bit(lab.s3.buckets / lab.store.bucket / "playbook/current/uploads/f")
    lab.verify(taken[2])
    with pytest.raises(VerificationError, match="uploads/f "):
        lab.verify(taken[1])


def files_of(lab: FilesLab, manifest: Manifest) -> set[bytes]:
    return {path for path, entry in lab.tree(manifest).items() if entry.stored and entry.natural_key}


def test_after_a_rejection_what_cannot_be_read_is_kept(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("closed/inside")
    lab.write("secret")
    lab.write("open")
    first = lab.backup()
    lab.catalog.add_evidence(SOURCE, first.backup_id, said(EvidenceKind.REJECTED, what="damaged"))
    scandir, real = os.scandir, os.open

    def refuse(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    def refuse_open(path: bytes, flags: int, *arguments: int, **more: int) -> int:
        if isinstance(path, bytes) and path.endswith(b"secret"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *arguments, **more)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "open", refuse_open)
    second = lab.backup()
    assert files_of(lab, second) == {b"closed/inside", b"open", b"secret"}
    assert second.details["done"]["uploaded"] == 1
    assert len(lab.current()) == 3
    lab.verify(second)


@pytest.mark.parametrize("damaged", ["one", "all"])
def test_a_tree_that_cannot_be_read_does_not_blind_the_guard(lab: FilesLab, damaged: str) -> None:
    fill_many(lab)
    backups = [lab.backup(), lab.backup()]
    for manifest in backups if damaged == "all" else backups[1:]:
        folder = lab.s3.buckets / lab.store.bucket / f"playbook/objects/{SOURCE}/{manifest.backup_id}"
        (folder / manifest.objects[0].name).write_bytes(b"damaged")
        with pytest.raises(VerificationError):
            lab.verify(manifest)
    for number in range(30):
        (lab.root / f"{number:02}").unlink()
    with pytest.raises(SourceError, match="30 of 30 files"):
        lab.backup()
    for number in range(25):
        lab.write(f"{number:02}")
    assert lab.backup().details["done"]["deleted"] == 5
    assert len(lab.current()) == 25


def test_what_a_run_left_that_was_cut_short_goes(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_many(lab)
    lab.backup()
    temporary = lab.write("temporary")
    source, writer = lab.source(), lab.writer()
    draft = source.scan(writer, Cancellation())
    source.sync(writer, draft, Cancellation())  # the worker is killed before `seal`
    assert "temporary" in lab.current()
    temporary.unlink()
    lab.write("new")
    manifest = lab.backup()
    assert set(lab.current()) == {path.decode() for path in files_of(lab, manifest)}
    lab.verify(manifest)
    monkeypatch.setattr("backup_playbook.engines.files.source.CurrentState", None)
    lab.backup()  # after a clean one nothing is listed


def test_credentials_that_cannot_be_read_are_no_files_that_are_gone(
    lab: FilesLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write("a")
    monkeypatch.setattr("backup_playbook.repository.small_objects.SmallObjects.put", _no_token)
    with pytest.raises(Exception, match=r"Cannot write .*No such file"):
        lab.backup()


def _no_token(*_: object) -> str:
    raise FileNotFoundError(2, "No such file or directory", "/var/run/token")


def test_one_rejected_backup_costs_one_full_upload(lab: FilesLab) -> None:
    fill_many(lab)
    old = lab.backup()

    def reject() -> None:
        lab.catalog.add_evidence(SOURCE, old.backup_id, said(EvidenceKind.REJECTED, what="damaged"))

    reject()
    anew = lab.backup()
    assert (anew.details["previous"], anew.details["done"]["uploaded"]) == ("", 30)
    lab.verify(anew)
    reject()  # the daily verification reads it again
    following = lab.backup()
    assert (following.details["previous"], following.details["done"]["uploaded"]) == (anew.backup_id, 0)
    lab.catalog.add_evidence(SOURCE, anew.backup_id, said(EvidenceKind.REJECTED, what="damaged"))
    assert lab.backup().details["previous"] == ""


def test_what_an_unverified_backup_stored_is_read_by_the_next_verification(lab: FilesLab) -> None:
    lab.write("a", b"one")
    lab.verify(lab.backup())
    lab.write("b", b"two")
    lab.backup()  # its verification never ran
    (lab.s3.buckets / lab.store.bucket / f"playbook/current/{SOURCE}/b").write_bytes(b"xxx")
    with pytest.raises(VerificationError, match=f"current/{SOURCE}/b"):
        lab.verify(lab.backup())


def test_what_was_set_aside_before_stays(lab: FilesLab) -> None:
    lab.write("a", b"backup")
    lab.write("folder/b", b"backup")
    manifest = lab.backup()
    for attempt in (b"first", b"second"):
        lab.write("a", attempt)
        (lab.root / "folder/b").unlink()
        (lab.root / "folder").rmdir()
        lab.write("folder", attempt)
        restore(lab, manifest, lab.root, in_place=True, newer=True)
    aside = lab.root / ".replaced"
    assert [(aside / name).read_bytes() for name in ("a", "a~1", "folder", "folder~1")] == [b"first", b"second"] * 2


def test_a_link_that_was_made_again_is_right(lab: FilesLab) -> None:
    (lab.root / "link").symlink_to("target")
    manifest = lab.backup()
    (lab.root / "link").unlink()
    (lab.root / "link").symlink_to("target")
    restore(lab, manifest, lab.root, in_place=True)


def test_a_file_that_was_never_read_is_not_restored_in_silence(lab: FilesLab, tmp_path: Path) -> None:
    os.mkfifo(lab.root / "fifo")
    lab.write("a")
    manifest = lab.backup()
    with pytest.raises(RestoreError, match="no content of 'fifo': a fifo has no content"):
        restore(lab, manifest, tmp_path / "copy", b"fifo")


def test_a_bucket_that_cannot_hold_a_name_is_no_whole_restore(lab: FilesLab) -> None:
    lab.write("a")
    lab.write(b"caf\xe9")
    (lab.root / "folder").mkdir()
    target = ObjectStore(lab.store.client, bucket=lab.store.bucket, prefix="copy")
    with pytest.raises(RestoreError, match=r"1 path could not be restored\. .*caf.*No bucket can hold"):
        BucketRestore(lab.reader(lab.backup()), target, Cancellation()).run()
    assert target.get("a") == b"content"


def test_a_file_that_grows_after_the_scan(lab: FilesLab) -> None:
    lab.write("upload", b"")
    source, writer = lab.source(), lab.writer()
    draft = source.scan(writer, Cancellation())
    content = os.urandom(6 << 20)
    lab.write("upload", content)
    source.sync(writer, draft, Cancellation())
    assert lab.current() == {"upload": content}


def test_restore_sh_says_what_cannot_be_written(lab: FilesLab, tmp_path: Path) -> None:
    lab.write("folder/file")
    script = script_of(lab, lab.backup()).replace("os.makedirs(os.path.dirname(path)", "os.makedirs(path + b'/file/'")
    result = run_restore_sh(script, tmp_path, lab.s3.shell_environment(), str(tmp_path / "copy"))
    assert result.returncode == 1
    assert "1 files could not be restored" in result.stderr
    assert "Restored" not in result.stdout
