"""Files come back as they were, where they may, and nowhere else."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_playbook.core.errors import RestoreError, VerificationError
from backup_playbook.core.model import Manifest, ObjectKind
from backup_playbook.core.tree import Entry, key_of, to_line
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.place import Place
from backup_playbook.engines.files.restore import FilesRestore
from backup_playbook.engines.files.shards import ShardWriter
from backup_playbook.repository.layout import RESTORE_SCRIPT, catalog_folder
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.processes import Cancellation
from tests.integration.files.lab import NOT_UTF8, FilesLab, fill, state
from tests.integration.files.restore_sh import run_restore_sh


def restore(
    lab: FilesLab, manifest: Manifest, into: Path, path: bytes = b"", *, in_place: bool = False, newer: bool = False
) -> FilesRestore:
    into.mkdir(exist_ok=True)
    with Place(into, set_aside=b".replaced/" if in_place else b"") as place:
        done = FilesRestore(lab.reader(manifest), place, Cancellation(), path, overwrite_newer=newer)
        done.run()
        done.prove()
    return done


def test_everything_with_its_attributes(lab: FilesLab, tmp_path: Path) -> None:
    fill(lab)
    restore(lab, lab.backup(), tmp_path / "copy")
    assert state(tmp_path / "copy") == state(lab.root)
    assert (tmp_path / "copy/sparse").stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"a/", {"a", "a/b"}),
        (b"a.txt", {"a.txt"}),
        (NOT_UTF8, {os.fsdecode(NOT_UTF8)}),
        (b"caf\\xe9.txt", {os.fsdecode(NOT_UTF8)}),
        (b"link", {"link"}),
    ],
)
def test_a_part(lab: FilesLab, tmp_path: Path, path: bytes, found: set[str]) -> None:
    fill(lab)
    restore(lab, lab.backup(), tmp_path / "copy", path)
    assert set(state(tmp_path / "copy")) == found


def test_a_path_that_the_backup_does_not_have(lab: FilesLab, tmp_path: Path) -> None:
    fill(lab)
    manifest = lab.backup()
    for path in (b"a.tx", b"nothing/", b"/a/b/c", b"dee"):
        with pytest.raises(RestoreError, match="has no"):
            restore(lab, manifest, tmp_path / "copy", path)
    for path in (b"a", b"/a/", b"./a", b"a/b/"):
        restore(lab, manifest, tmp_path / "copy", path)
        assert set(state(tmp_path / "copy")) == {"a", "a/b"}


def test_a_deleted_file_and_an_older_content(lab: FilesLab, tmp_path: Path) -> None:
    for number in range(9):
        lab.write(f"keep{number}")
    lab.write("deleted", b"precious")
    lab.write("changed", b"before")
    older = lab.backup()
    (lab.root / "deleted").unlink()
    lab.write("changed", b"after")
    lab.backup()
    restore(lab, older, tmp_path / "copy")
    assert (tmp_path / "copy/deleted").read_bytes() == b"precious"
    assert (tmp_path / "copy/changed").read_bytes() == b"before"


def test_in_place_keeps_newer_files_and_sets_replaced_ones_aside(lab: FilesLab) -> None:
    for name in ("deleted", "newer", "older", "same"):
        os.utime(lab.write(name, name.encode()), ns=(10**18, 10**18))
    manifest = lab.backup()
    (lab.root / "deleted").unlink()
    lab.write("newer", b"written since")
    os.utime(lab.write("older", b"damaged"), ns=(5, 5))
    lab.write("unknown", b"made since")
    done = restore(lab, manifest, lab.root, in_place=True)
    with done.place:
        assert done.prove() == {"file": 3, "kept_newer": 1}
    assert {name: (lab.root / name).read_bytes() for name in ("deleted", "newer", "older", "same", "unknown")} == {
        "deleted": b"deleted", "newer": b"written since", "older": b"older", "same": b"same", "unknown": b"made since",
    }  # fmt: skip
    assert (lab.root / ".replaced/older").read_bytes() == b"damaged"
    restore(lab, manifest, lab.root, b"newer", in_place=True, newer=True)
    assert (lab.root / "newer").read_bytes() == b"newer"
    assert (lab.root / ".replaced/newer").read_bytes() == b"written since"


def test_a_directory_that_is_not_empty_is_not_written_over(lab: FilesLab, tmp_path: Path) -> None:
    lab.write("a", b"backup")
    manifest = lab.backup()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/a").write_bytes(b"other")
    os.utime(tmp_path / "copy/a", ns=(5, 5))
    with pytest.raises(RestoreError, match="copy/a is there already"):
        restore(lab, manifest, tmp_path / "copy")
    assert (tmp_path / "copy/a").read_bytes() == b"other"


def hostile(lab: FilesLab, *entries: Entry) -> Manifest:
    """A backup as somebody might write it who may write to the bucket."""
    lab.write("a", b"payload")
    manifest = lab.backup()
    (known,) = lab.tree(manifest).values()
    writer = lab.writer()
    shards = ShardWriter(writer, "tree")
    for entry in sorted(entries):
        full = entry
        if entry.type == "file":
            full = entry.with_content_of(known)._replace(hashed_key=True)
            full = full._replace(version=lab.store.put(key_of("uploads", full), b"payload").version)
        shards.add(entry.path, to_line(full))
    shards.flush()
    details = {**manifest.details, "shards": shards.shards}
    changed = manifest.model_copy(
        update={"backup_id": writer.backup_id, "objects": tuple(shards.objects), "details": details}
    ).sealed()
    lab.catalog.seal(changed, FilesEngine().restore_script(changed, lab.store.url))
    return changed


@pytest.mark.parametrize("path", [b"../escaped", b"/escaped", b"a/../../escaped", b"a//b", b"./a", b"a\0b"])
def test_paths_that_lead_out_are_refused(lab: FilesLab, tmp_path: Path, path: bytes) -> None:
    manifest = hostile(lab, Entry(path, "file"))
    with pytest.raises(RestoreError, match="no directory can hold it, or it would lead out of it"):
        restore(lab, manifest, tmp_path / "copy")
    assert not (tmp_path / "escaped").exists()
    assert list((tmp_path / "copy").iterdir()) == []


def test_what_no_directory_can_hold_costs_nothing_else(
    lab: FilesLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = hostile(lab, Entry(b"a//b", "file"), Entry(b"z/c", "file"))
    with pytest.raises(RestoreError, match=r"1 path could not be restored\. All others are in .* First: a//b: no"):
        restore(lab, manifest, tmp_path / "copy")
    assert (tmp_path / "copy/z/c").read_bytes() == b"payload"
    with pytest.raises(RestoreError, match="1 path could not be restored"):
        restore(lab, manifest, tmp_path / "other", b"a//b")
    assert caplog.text.count(f"--key {lab.store.path('current-hashed/uploads/')}") == 2
    result = run_restore_sh(script_of(lab, manifest), tmp_path, lab.s3.shell_environment(), str(tmp_path / "by-script"))
    assert result.returncode == 1
    assert "1 files could not be restored, or are damaged, first b'a//b'" in result.stderr
    assert (tmp_path / "by-script/z/c").read_bytes() == b"payload"


def test_the_folders_above_one_file_come_back_as_they_were(lab: FilesLab) -> None:
    lab.write("open/closed/below/file")
    lab.write("other/file")
    modes = {"open": 0o2775, "open/closed": 0o750, "open/closed/below": 0o711}
    for folder, mode in modes.items():
        (lab.root / folder).chmod(mode)
    for folder in (*modes, "other"):
        os.utime(lab.root / folder, ns=(5, 5))
    manifest, was = lab.backup(), state(lab.root)
    for path in (b"open/closed/below/file", b"open/closed/"):
        shutil.rmtree(lab.root / "open")
        restore(lab, manifest, lab.root, path, in_place=True)
        assert state(lab.root) == was
    (lab.root / "open").chmod(0o700)  # what is there is not touched
    shutil.rmtree(lab.root / "open/closed")
    restore(lab, manifest, lab.root, b"open/closed/below/file", in_place=True)
    assert (lab.root / "open").stat().st_mode & 0o7777 == 0o700
    assert (lab.root / "open/closed").stat().st_mode & 0o7777 == 0o750


def test_nothing_is_written_through_a_link(lab: FilesLab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    manifest = hostile(
        lab, Entry(b"door", "symlink", target=os.fsencode(outside)), Entry(b"door/written", "file"),
    )  # fmt: skip
    with pytest.raises(RestoreError, match="it cannot be there beside 'door/written'"):
        restore(lab, manifest, tmp_path / "copy")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/door").symlink_to(outside)
    with pytest.raises(RestoreError, match="is a symbolic link"):
        restore(lab, manifest, tmp_path / "other", b"door/written")
    assert list(outside.iterdir()) == []


def test_a_damaged_content_does_not_appear(lab: FilesLab, tmp_path: Path) -> None:
    lab.write("a", b"one")
    manifest = lab.backup()
    (lab.s3.buckets / lab.store.bucket / "playbook/current/uploads/a").write_bytes(b"two")
    with pytest.raises(VerificationError, match="SHA-256"):
        restore(lab, manifest, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda root: (root / "a").write_bytes(b"two"), "another content"),
        (lambda root: (root / "a").unlink(), "not there"),
        (lambda root: (root / "a").chmod(0o777), "mode 0o777"),
        (lambda root: os.utime(root / "a", ns=(1, 1)), "time 1 instead"),
        (lambda root: ((root / "l").unlink(), (root / "l").symlink_to("z")), "somewhere else"),
        (lambda root: ((root / "l").unlink(), (root / "l").mkdir()), "no symlink"),
    ],
)
def test_what_differs_is_not_proven(
    lab: FilesLab, tmp_path: Path, damage: Callable[[Path], object], problem: str
) -> None:
    lab.write("a", b"one").chmod(0o640)
    lab.write("b")
    (lab.root / "l").symlink_to("a")
    os.utime(lab.root / "a", ns=(10**19, 9 * 10**18))
    done = restore(lab, lab.backup(), tmp_path / "copy")
    damage(tmp_path / "copy")
    with done.place, pytest.raises(VerificationError, match=problem) as caught:
        done.prove()
    assert len(caught.value.problems) == 1


def test_one_file_is_found_with_one_shard(lab: FilesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_playbook.engines.files.shards.ENTRIES_PER_SHARD", 5)
    for number in range(23):
        lab.write(f"{number:02}/file", b"%d" % number)
    manifest = lab.backup()
    assert len(manifest.objects) == 10
    content, opened = BackupReader.content, []

    def count(self: BackupReader, item: object) -> object:
        opened.append(item)
        return content(self, item)  # type: ignore[arg-type]

    monkeypatch.setattr(BackupReader, "content", count)
    with Place(tmp_path) as place:
        FilesRestore(lab.reader(manifest), place, Cancellation(), b"17/file").run()
    assert (tmp_path / "17/file").read_bytes() == b"17"
    assert len(set(opened)) <= 2, "that of the file, and that of its folder, which is made as it was"
    assert {item.kind for item in manifest.objects} == {ObjectKind.TREE}


def script_of(lab: FilesLab, manifest: Manifest) -> str:
    return lab.store.get(catalog_folder("uploads", manifest.backup_id) + RESTORE_SCRIPT).decode()


def test_restore_sh(lab: FilesLab, tmp_path: Path) -> None:
    fill(lab)
    manifest = lab.backup()
    result = run_restore_sh(script_of(lab, manifest), tmp_path, lab.s3.shell_environment(), str(tmp_path / "copy"))
    assert result.returncode == 0, result.stderr
    assert "Restored and checked" in result.stdout
    assert state(tmp_path / "copy") == state(lab.root)


def test_restore_sh_says_what_is_damaged(lab: FilesLab, tmp_path: Path) -> None:
    lab.write("a", b"one")
    lab.write("b", b"one")
    manifest = lab.backup()
    (lab.s3.buckets / lab.store.bucket / "playbook/current/uploads/a").write_bytes(b"two")
    result = run_restore_sh(script_of(lab, manifest), tmp_path, lab.s3.shell_environment(), str(tmp_path / "copy"))
    assert result.returncode == 1
    assert "1 files could not be restored" in result.stderr
    assert "Restored" not in result.stdout


def test_the_format_is_json_lines_that_anybody_can_read(lab: FilesLab) -> None:
    lab.write("a", b"one")
    reader = lab.reader(lab.backup())
    (line,) = b"".join(reader.content(reader.manifest.objects[0])).splitlines()
    document = json.loads(line)
    assert (document["path"], document["type"], document["size"]) == ("a", "file", 3)
    assert document["version"]
