"""What goes wrong between two steps, or between two nights: nothing is lost, and nothing passes for what it is not."""

import os
from pathlib import Path

import pytest

from backup_playbook.core.errors import RestoreError, SourceError, VerificationError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.engines.files.to_bucket import BucketRestore
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation
from tests.integration.files.lab import SOURCE, FilesLab
from tests.integration.files.restore_sh import run_restore_sh
from tests.integration.files.test_restore import restore, script_of


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


def test_credentials_that_cannot_be_read_are_no_files_that_are_gone(
    lab: FilesLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write("a")
    monkeypatch.setattr("backup_playbook.repository.quick.QuickRequests.put", _no_token)
    with pytest.raises(Exception, match=r"Cannot write .*No such file"):
        lab.backup()


def _no_token(*_: object) -> str:
    raise FileNotFoundError(2, "No such file or directory", "/var/run/token")


def test_one_rejected_backup_costs_one_full_upload(lab: FilesLab) -> None:
    fill_many(lab)
    old = lab.backup()

    def reject() -> None:
        lab.catalog.add_evidence(SOURCE, old.backup_id, EvidenceKind.REJECTED, {"what": "damaged"})

    reject()
    anew = lab.backup()
    assert (anew.details["previous"], anew.details["done"]["uploaded"]) == ("", 30)
    lab.verify(anew)
    reject()  # the daily verification reads it again
    following = lab.backup()
    assert (following.details["previous"], following.details["done"]["uploaded"]) == (anew.backup_id, 0)
    lab.catalog.add_evidence(SOURCE, anew.backup_id, EvidenceKind.REJECTED, {"what": "damaged"})
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


def test_a_link_that_was_made_again_gets_its_time_back(lab: FilesLab) -> None:
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
    lab.write("screenshot\u202f1")
    (lab.root / "folder").mkdir()
    target = ObjectStore(lab.store.client, bucket=lab.store.bucket, prefix="copy")
    with pytest.raises(RestoreError, match=r"No bucket can hold 1 file .*screenshot"):
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
