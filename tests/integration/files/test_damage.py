"""Damaged backups of files: what a repair brings back, and what later backups make of the damage."""

import errno
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.tree import Entry, FileType
from backup_playbook.engines.files.copies import copy_files
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.source import FilesOptions
from backup_playbook.engines.repair import require_same
from backup_playbook.engines.scrub import Scrub, Scrubbed
from backup_playbook.repository.offsite import has_copy
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from tests.integration.files.lab import SOURCE, FilesLab
from tests.integration.files.test_copies import copy, newest_of
from tests.support.backups import said
from tests.support.damage import flip_a_bit
from tests.support.ordinary_user import ordinary_user


def broken(lab: FilesLab, path: str) -> None:
    flip_a_bit(lab.s3.buckets / lab.store.bucket / "playbook/current" / SOURCE / path)


def repaired(damaged: FilesLab, sound: FilesLab, manifest: Manifest) -> Manifest:
    origin = sound.reader(sound.catalog.manifest(SOURCE, manifest.backup_id))
    copy_files(origin, damaged.catalog, FilesOptions(), Cancellation(), anew=True)
    return damaged.catalog.manifest(SOURCE, manifest.backup_id)


def scrubbed(lab: FilesLab) -> Scrubbed:
    later = datetime.now(UTC) + timedelta(days=1)
    scrub = Scrub(FilesEngine(), Codec(), 2, Cancellation())
    return scrub.run(SOURCE, ["it"], lambda _: lab.catalog, timedelta(days=30), later, asked=True)


def test_a_repair_that_fails_leaves_the_backup_as_it_was_and_can_be_repeated(lab: FilesLab, offsite: FilesLab) -> None:
    for name in "abc":
        lab.write(name, name.encode())
    manifest = lab.backup()
    copy(lab, offsite, manifest)
    broken(lab, "a")
    broken(offsite, "b")
    with pytest.raises(VerificationError, match="SHA-256"):
        repaired(lab, offsite, manifest)
    was = lab.catalog.manifest(SOURCE, manifest.backup_id)
    assert (was.seal, len(lab.tree(was))) == (manifest.seal, 3)
    broken(offsite, "b")  # the other way round: it is right again
    now = repaired(lab, offsite, manifest)
    assert lab.verify(manifest).origin_seal == manifest.seal != now.seal
    assert lab.current() == {name: name.encode() for name in "abc"}
    folder = f"objects/{SOURCE}/{manifest.backup_id}/"
    assert [item.key.removeprefix(folder) for item in lab.store.list(folder)] == [item.name for item in now.objects]
    assert has_copy(offsite.catalog, now)


def test_a_copy_that_was_repaired_is_the_one_that_was_verified_first(lab: FilesLab, offsite: FilesLab) -> None:
    lab.write("a")
    manifest = lab.backup()
    copy(lab, offsite, manifest)
    old = said(
        EvidenceKind.VERIFIED, manifest_seal=newest_of(offsite).seal
    )  # as evidence was before it named the origin
    offsite.catalog.add_evidence(SOURCE, manifest.backup_id, old)
    for _ in range(2):
        broken(offsite, "a")
        assert scrubbed(offsite).rejected == 1
        require_same(offsite.catalog, offsite.catalog.entry(SOURCE, manifest.backup_id), manifest)
        repaired(offsite, lab, manifest)
        offsite.verify(manifest)
        assert (scrubbed(offsite).rejected, scrubbed(offsite).unreadable) == (0, [])
    other = manifest.model_copy(update={"seal": "another"})
    with pytest.raises(VerificationError, match="another backup under the id"):
        require_same(offsite.catalog, offsite.catalog.entry(SOURCE, manifest.backup_id), other)


def test_a_repaired_backup_does_not_hide_what_others_share_with_it(lab: FilesLab, offsite: FilesLab) -> None:
    for name in "abc":
        lab.write(name, name.encode())
    first = lab.backup()
    lab.write("d", b"d")
    second = lab.backup()
    for manifest in (first, second):
        lab.verify(manifest)
        copy(lab, offsite, manifest)
    broken(lab, "a")
    with pytest.raises(VerificationError, match="SHA-256"):
        lab.verify(first)
    repaired(lab, offsite, first)
    lab.verify(first)
    anew = lab.backup()
    assert (anew.details["previous"], lab.current()["a"]) == ("", b"a")
    with pytest.raises(VerificationError, match="current/uploads/a"):
        lab.verify(second)
    for manifest in (first, anew):
        lab.verify(manifest)
    assert lab.backup().details["done"]["uploaded"] == 0


def test_of_what_cannot_be_read_no_damaged_version_is_named(lab: FilesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("read", "denied", "fine", "hidden/damaged", "hidden/fine"):
        lab.write(path, path.encode())
    for number in range(20):
        lab.write(f"{number}")
    first = lab.backup()
    for path in ("denied", "hidden/damaged"):
        broken(lab, path)
    with pytest.raises(VerificationError, match="SHA-256"):
        lab.verify(first)
    read = DirectoryTree.read

    def deny(tree: DirectoryTree, entry: Entry, *rest: Any) -> object:
        if entry.path in (b"denied", b"fine"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(tree, entry, *rest)

    monkeypatch.setattr(DirectoryTree, "read", deny)
    (lab.root / "hidden").chmod(0o700)
    for _ in range(2):
        with ordinary_user(lab.root):
            manifest = lab.backup()
        lab.verify(manifest)
        tree = lab.tree(manifest)
        assert [path for path, entry in tree.items() if entry.type == FileType.FILE and not entry.stored] == [
            b"denied", b"hidden/damaged"
        ]  # fmt: skip
        assert tree[b"denied"].reason.startswith("Permission denied")
