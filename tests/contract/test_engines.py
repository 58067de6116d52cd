"""What every engine must do, whatever it backs up. A new engine joins with a case in cases.py."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_playbook.core.details import Details
from backup_playbook.core.errors import CancelledError, RestoreError, SourceError, VerificationError
from backup_playbook.core.evidence import Verified
from backup_playbook.core.model import Manifest
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.engines.contract import Target
from backup_playbook.engines.files.details import FilesDetails
from backup_playbook.engines.mongodb.details import MongoDetails
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.client import client_config
from backup_playbook.repository.layout import objects_folder
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer, client_bin_dirs
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.contract.abilities import ABILITIES
from tests.contract.cases import Case, FilesCase, MongoCase, PostgresCase, SqliteCase
from tests.integration.postgres.lab import SOURCE, Lab, assert_restored
from tests.support.bytes_engine import BytesEngine
from tests.support.damage import flip_a_bit
from tests.support.example_engine.dump import SqliteDetails

DETAILS: dict[str, type[Details]] = {
    "postgres": PostgresDetails,
    "mongodb": MongoDetails,
    "files": FilesDetails,
    "sqlite": SqliteDetails,
}


@pytest.fixture(scope="module", params=list(ABILITIES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    if request.param in ("files", "sqlite"):
        of_files: Case = {"files": FilesCase, "sqlite": SqliteCase}[request.param](tmp_path_factory.mktemp("files"))
        yield of_files
        return
    if request.param == "mongodb":
        made: Case = MongoCase(request.getfixturevalue("mongo"))
        yield made
        made.close()
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKUP_PLAYBOOK_PG_CLIENTS", os.pathsep.join(map(str, client_bin_dirs())))
        server: PostgresServer = request.getfixturevalue("postgres18")
        made = PostgresCase(server, f"contract_{uuid.uuid4().hex[:8]}")
        yield made
        made.close()


@pytest.fixture
def lab(case: Case, s3: S3Gateway, bucket: Bucket, tmp_path: Path) -> Lab:
    if case.engine.name == "files":  # the content of files is in versions
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    return Lab(s3, ObjectStore(s3.client(client_config(2)), bucket=bucket.name, prefix="contract"), tmp_path)


@pytest.fixture
def target(case: Case) -> Iterator[Target]:
    made = case.target()
    yield made
    made.drop()


def back_up(case: Case, lab: Lab) -> Manifest:
    return take_backup(case.source(), case.engine, lab.writer(), Cancellation())


def verify(case: Case, lab: Lab, manifest: Manifest, depth: Depth) -> Verified:
    verification = Verification(lab.catalog, case.engine, lab.codec, depth)
    return verification.run(SOURCE, manifest.backup_id, Cancellation(), manifest.seal)


def test_the_manifest_names_exactly_what_is_stored(case: Case, lab: Lab) -> None:
    manifest = back_up(case, lab)
    folder = objects_folder(SOURCE, manifest.backup_id)
    stored = {item.key: item.bytes for item in lab.store.list("objects/")}
    assert stored == {folder + item.name: item.stored_bytes for item in manifest.objects}
    assert manifest.engine == case.engine.name
    assert (manifest.source, manifest.tools["backup_playbook"] != "") == (SOURCE, True)
    assert manifest.started_at <= manifest.snapshot_at <= manifest.finished_at
    assert case.engine.check_manifest(manifest) == []
    assert lab.catalog.manifest(SOURCE, manifest.backup_id) == manifest


def test_the_manifest_says_all_that_a_model_of_its_details_has(case: Case, lab: Lab) -> None:
    manifest, model = back_up(case, lab), DETAILS[case.engine.name]
    assert model.model_fields.keys() - manifest.details.keys() == {"copy_of"}
    assert model.of(manifest).written().items() <= manifest.details.items()


@pytest.mark.parametrize("depth", list(Depth))
def test_a_good_backup_is_verified_at_every_depth(case: Case, lab: Lab, depth: Depth) -> None:
    manifest = back_up(case, lab)
    evidence = verify(case, lab, manifest, depth)
    assert evidence.depth == depth
    assert evidence.objects == len(manifest.objects)
    (entry,) = lab.catalog.backups(SOURCE)
    assert entry.verified


def test_restore_sh_brings_back_what_was_there(case: Case, lab: Lab) -> None:
    manifest = back_up(case, lab)
    assert_restored(case.restore(lab, manifest))
    assert case.restored() == case.original()


def test_what_was_restored_is_proven_and_dropped(case: Case, lab: Lab, target: Target) -> None:
    manifest = back_up(case, lab)
    reader = open_backup(lab.catalog, case.engine, SOURCE, manifest.backup_id, lab.codec)
    assert not case.exists(target)
    target.create(manifest)
    assert case.exists(target)
    seconds = target.restore(reader, Cancellation())
    assert min(seconds.values()) >= 0
    proof = target.prove(reader, Cancellation())
    assert [(table.namespace, table.name, table.rows, table.bytes) for table in proof.tables] == [
        (table.namespace, table.name, table.rows, table.bytes) for table in manifest.tables
    ]
    for _ in range(2):
        target.drop()
        assert not case.exists(target)


def test_a_difference_is_not_proven(case: Case, lab: Lab, target: Target) -> None:
    manifest = back_up(case, lab)
    reader = open_backup(lab.catalog, case.engine, SOURCE, manifest.backup_id, lab.codec)
    target.create(manifest)
    target.restore(reader, Cancellation())
    case.damage(target)
    with pytest.raises(VerificationError) as caught:
        target.prove(reader, Cancellation())
    assert len(caught.value.problems) == 1


def test_a_restore_that_was_cancelled_before_it_began(case: Case, lab: Lab, target: Target) -> None:
    manifest = back_up(case, lab)
    reader = open_backup(lab.catalog, case.engine, SOURCE, manifest.backup_id, lab.codec)
    target.create(manifest)
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        target.restore(reader, cancellation)


def test_a_place_is_filled_once(case: Case, lab: Lab, target: Target) -> None:
    manifest = back_up(case, lab)
    reader = open_backup(lab.catalog, case.engine, SOURCE, manifest.backup_id, lab.codec)
    target.create(manifest)
    target.restore(reader, Cancellation())
    with pytest.raises(RestoreError, match="not empty"):
        target.restore(reader, Cancellation())
    target.prove(reader, Cancellation())


def test_a_backup_of_another_engine_is_not_opened(case: Case, lab: Lab) -> None:
    engine = BytesEngine({"one": b"1"})
    manifest = take_backup(engine, engine, lab.writer(), Cancellation())
    with pytest.raises(VerificationError, match="engine bytes"):
        open_backup(lab.catalog, case.engine, SOURCE, manifest.backup_id, lab.codec)


def test_two_backups_of_an_unchanged_source_hold_the_same_rows(case: Case, lab: Lab) -> None:
    one, other = (take_backup(case.undivided(), case.engine, lab.writer(), Cancellation()) for _ in range(2))
    assert one.backup_id != other.backup_id
    assert [(table.name, table.rows, table.digest) for table in one.tables] == [
        (table.name, table.rows, table.digest) for table in other.tables
    ]


def test_every_object_is_checked(case: Case, lab: Lab) -> None:
    manifest = back_up(case, lab)
    for item in manifest.objects:
        flip_a_bit(lab.stored_file(objects_folder(SOURCE, manifest.backup_id) + item.name))
    with pytest.raises(VerificationError) as caught:
        verify(case, lab, manifest, Depth.FULL)
    assert len(caught.value.problems) == len(manifest.objects)


def test_a_source_that_does_not_answer(case: Case, lab: Lab) -> None:
    with pytest.raises(SourceError) as caught:
        take_backup(case.unreachable(), case.engine, lab.writer(), Cancellation())
    assert "127.0.0.1" in caught.value.what
    assert caught.value.remedy
    assert lab.leftovers() == []


def test_a_task_that_was_cancelled_before_it_began(case: Case, lab: Lab) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        take_backup(case.source(), case.engine, lab.writer(), cancellation)
    assert lab.leftovers() == []
