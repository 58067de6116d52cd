"""Repositories that earlier releases have written: whatever they hold is read, verified, restored and proven."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest

from backup_playbook.core.details import data_bytes
from backup_playbook.core.errors import VerificationError
from backup_playbook.core.evidence import MODELS
from backup_playbook.core.facts import Dags, Expected
from backup_playbook.core.health import assess
from backup_playbook.core.model import EncryptionRecord, EvidenceKind, Manifest
from backup_playbook.core.recovery_points import as_text, choose_backup, restore_rate
from backup_playbook.engines.backup import Depth, Verification
from backup_playbook.engines.contract import Engine, Target
from backup_playbook.engines.files.details import FilesDetails
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.source import losses
from backup_playbook.engines.files.steps import SCANNED, SYNCED
from backup_playbook.engines.health import gather_facts
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.scratch import MongoScratch, MongoScratchServer
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.recovery_points import find_recovery_points
from backup_playbook.engines.restore import open_backup
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.engines.survey import newest_restores, survey
from backup_playbook.repository.catalog import CatalogEntry
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import client_bin_dirs
from embedded.s3 import S3Gateway
from tests.integration.postgres.lab import host_of
from tests.support.old_repositories import RELEASES, REPOSITORIES, OldRepositories, documents, load

ENGINES: dict[str, Engine] = {
    "shop": PostgresEngine(), "ledger": PostgresEngine(), "reviews": MongoEngine(), "uploads": FilesEngine(),
}  # fmt: skip
SOURCES = tuple(ENGINES)
KINDS = {
    "9a05b8c": {"verified", "rejected", "restored", "copied", "held", "tiered"},
    "8084e2d": {"verified", "rejected", "restored", "unequal", "accepted", "copied", "held", "tiered"},
}


@pytest.fixture(autouse=True)
def clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the server that the archives come from: Postgres 18."""
    monkeypatch.setenv("BACKUP_PLAYBOOK_PG_CLIENTS", os.pathsep.join(map(str, client_bin_dirs())))


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest, s3: S3Gateway) -> OldRepositories:
    return load(request.param, s3)


@pytest.fixture
def codec(request: pytest.FixtureRequest) -> Iterator[Codec]:
    """Of the source that the test is about, which must have been loaded before."""
    old: OldRepositories = request.getfixturevalue("old")
    with ExitStack() as stack:
        secret = request.getfixturevalue("source") == "ledger"
        keyring = stack.enter_context(Keyring(Encryption(passphrase=old.passphrase))) if secret else None
        yield Codec(keyring=keyring)


def entries(old: OldRepositories, source: str, repository: str = "primary") -> dict[str, CatalogEntry]:
    return {entry.backup_id: entry for entry in old.catalogs[repository].backups(source)}


def test_there_are_archives_of_two_releases() -> None:
    assert set(RELEASES) == set(KINDS)


@pytest.mark.parametrize("release", RELEASES)
def test_manifests_are_as_they_were_sealed_to_the_byte(release: str) -> None:
    found = {key: text for key, text in documents(release, "catalog/").items() if key.endswith("/manifest.json")}
    assert len(found) > 20
    for key, text in found.items():
        manifest = Manifest.from_json(text, key)
        assert manifest.to_json() == text
        assert manifest.sealed().seal == manifest.seal


def test_what_is_known_of_each_backup_is_listed(old: OldRepositories) -> None:
    for repository in REPOSITORIES:
        assert set(old.catalogs[repository].sources()) == set(SOURCES)
        for source in SOURCES:
            assert set(entries(old, source, repository)) == set(old.backups[source].values())
    shop, known = entries(old, "shop"), old.backups["shop"]
    held, unequal, rejected = (shop[known[name]] for name in ("held", "unequal", "rejected"))
    assert (held.held, held.tier) == (True, "yearly")
    assert [name.qualifier for name in held.evidence if name.kind is EvidenceKind.COPIED] == ["offsite"]
    assert all(shop[known[name]].proven for name in ("held", "recovered", "restored"))
    assert (unequal.unequal, unequal.proven, rejected.rejected, rejected.unequal) == (True, None, True, False)
    for name in {"accepted", "repaired"}.intersection(known):
        assert (shop[known[name]].unequal, shop[known[name]].rejected) == (False, False)
        assert shop[known[name]].verified
    assert not entries(old, "shop", "offsite")[known["rejected"]].rejected
    uploads = entries(old, "uploads")[old.backups["uploads"]["restored"]]
    assert (uploads.held, bool(uploads.proven)) == (True, True)


def test_every_piece_of_evidence_is_read(old: OldRepositories) -> None:
    kinds = set()
    for catalog in old.catalogs.values():
        for entry in catalog.backups():
            for name in entry.evidence:
                document = catalog.read_evidence(entry, name)
                assert (document["kind"], document["source"]) == (name.kind, entry.source)
                evidence = MODELS[name.kind].read(document)
                assert evidence
                told = {key: value for key, value in evidence.body().items() if value is not None}
                assert told.items() <= document.items()
                kinds.add(str(name.kind))
    assert kinds == KINDS[old.release]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("repository", REPOSITORIES)
def test_every_byte_is_verified_again(old: OldRepositories, source: str, repository: str, codec: Codec) -> None:
    catalog = old.catalogs[repository]
    work = Verification(catalog, ENGINES[source], codec, Depth.FULL)
    for backup_id in entries(old, source, repository):
        damaged = repository == "primary" and backup_id == old.backups[source].get("rejected")
        if damaged:
            with pytest.raises(VerificationError, match="pack-0001"):
                work.run(source, backup_id, Cancellation())
        else:
            work.run(source, backup_id, Cancellation())
        assert catalog.entry(source, backup_id).rejected == damaged
        assert bool(catalog.entry(source, backup_id).verified) != damaged


def test_damage_ends_with_a_good_verification(old: OldRepositories) -> None:
    """Of the releases whose findings have no names, too."""
    rejected, catalog = old.backups["shop"]["rejected"], old.catalogs["primary"]
    key = f"objects/shop/{rejected}/pack-0001.sql.zst"
    old.stored_file("primary", key).write_bytes(old.stored_file("offsite", key).read_bytes())
    Verification(catalog, ENGINES["shop"], Codec(), Depth.FULL).run("shop", rejected, Cancellation())
    assert not catalog.entry("shop", rejected).rejected


def new_target(source: str, request: pytest.FixtureRequest, folder: Path) -> Target:
    name = scratch_name(source)
    if source == "uploads":
        return ScratchDirectory(folder, name)
    if source == "reviews":
        server = MongoServer(request.getfixturevalue("replica_set").uri, "admin")
        return MongoScratch(MongoScratchServer(server, tuple), name, "test")
    dsn = request.getfixturevalue("postgres18").dsn()
    return ScratchDatabase(host_of(dsn), name, "test")


@pytest.mark.parametrize("source", SOURCES)
def test_backups_are_restored_and_proven(
    old: OldRepositories,
    source: str,
    codec: Codec,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """The oldest and the newest, from both repositories."""
    known = sorted(old.backups[source].values())
    for repository, backup_id in zip(REPOSITORIES, (known[0], known[-1]), strict=True):
        reader = open_backup(old.catalogs[repository], ENGINES[source], source, backup_id, codec)
        target = new_target(source, request, tmp_path)
        with closing(_Dropped(target)):
            target.create(reader.manifest)
            target.restore(reader, Cancellation())
            proof = target.prove(reader, Cancellation())
        assert len(proof.tables) == len(reader.manifest.tables)
        assert proof.schema_objects > 0


class _Dropped:
    def __init__(self, target: Target) -> None:
        self.close = target.drop


def expected(old: OldRepositories, source: str) -> Expected:
    return Expected(
        due=old.now - timedelta(days=2),
        rpo=timedelta(days=2),
        proven_within=timedelta(days=35),
        reread_within=timedelta(days=30),
        minimum_size=1,
        encryption=EncryptionRecord(method="gpg_passphrase" if source == "ledger" else "none"),
        dags=Dags("back_up", "prove", "repair", "verify"),
    )


def test_health_tells_what_was_found_then(old: OldRepositories) -> None:
    for source in SOURCES:
        facts = gather_facts(source, expected(old, source), REPOSITORIES, old.catalogs.__getitem__, old.now)
        assert facts.unreadable == ()
        found = {finding.key: finding.what for finding in assess(facts, old.now)}
        if source == "shop":
            rejected, unequal = (old.backups[source][name] for name in ("rejected", "unequal"))
            assert "pack-0001" in found.pop(f"shop/rejected/primary/{rejected}")
            assert "people" in found.pop(f"shop/unequal/{unequal}")
            if old.release == "9a05b8c":  # what was not equal was rejected, before there were two words for it
                assert "people" in found.pop(f"shop/rejected/primary/{unequal}")
        assert found == {}


def test_speed_of_a_restore_is_known_whoever_wrote_it_down(old: OldRepositories) -> None:
    """Restores of files told the size of their lists, or none."""
    for source in SOURCES:
        seen = survey(source, REPOSITORIES, old.catalogs.__getitem__)
        proven = {entry.backup_id for entries in seen.listed.values() for entry in entries if entry.proven}
        restores = newest_restores(seen)
        assert len(restores) >= len(proven) > 0
        sizes = {data_bytes(old.catalogs["primary"].manifest(source, backup_id)) for backup_id in proven}
        assert {one.content_bytes for one in restores} == sizes
        assert restore_rate(restores)


def test_recovery_points_are_listed(old: OldRepositories) -> None:
    for source in SOURCES:
        points = find_recovery_points(source, REPOSITORIES, old.catalogs.__getitem__, ENGINES[source], old.now)
        assert points.unreadable == {}
        newest, proven = points.newest["verified"], points.newest["proven"]
        assert newest.backup_id == old.backups[source]["newest"]
        assert newest.states == dict.fromkeys(REPOSITORIES, "verified")
        assert newest.contents
        assert proven.contents
        assert proven.restore, "each has been restored, and the speed of that is known"
        text = as_text([points], old.now)
        assert newest.backup_id in text
        listed = old.catalogs["primary"].backups(source)
        assert choose_backup(listed, now=old.now).backup_id == newest.backup_id
        assert choose_backup(listed, "latest_proven", now=old.now).backup_id == proven.backup_id


@pytest.mark.parametrize("release", RELEASES)
def test_reports_are_there_for_people_and_machines(release: str) -> None:
    found = documents(release, "reports/")
    reports = {key: text for key, text in found.items() if key.endswith(".json") and "undo" not in key}
    words = {key.split("/")[-1].rpartition("-")[0] for key in reports}
    assert words == {"restore-test", "restore", "recovery", "rows", "documents"}
    for key, text in reports.items():
        report = json.loads(text)
        assert key.split("/")[2] == report["source"]
        assert report["backup_id"] in text.decode()
        assert found[key.replace(".json", ".md")].startswith(b"# ")


@pytest.mark.parametrize("release", RELEASES)
def test_run_of_files_that_was_begun_before_an_upgrade_goes_on_or_says_what_it_lacks(release: str) -> None:
    left = documents(release, "objects/uploads/")
    drafts = [Manifest.from_json(text, key) for key, text in left.items() if key.endswith(SCANNED)]
    assert drafts
    for draft in drafts:
        if release == "9a05b8c":
            with pytest.raises(VerificationError, match="not those of this release: hidden: Field") as caught:
                losses(draft)
            assert "start a new run" in caught.value.remedy
        else:
            assert losses(draft).before in (0, 11)
    for key, text in left.items():
        if key.endswith(SYNCED):
            assert FilesDetails.of(Manifest.from_json(text, key)).files


def test_kinds_that_are_not_in_the_archives_are_written_by_nothing_then() -> None:
    assert {str(kind) for kind in EvidenceKind} - set.union(*KINDS.values()) == {"released"}
