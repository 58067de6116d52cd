"""The daily verification against a real S3 server: what it reads again, what it finds, and when it is over."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from backup_playbook.core.errors import CancelledError, ConfigError
from backup_playbook.core.evidence import Accepted
from backup_playbook.core.facts import Dags, Expected, Unreadable
from backup_playbook.core.health import Finding, assess
from backup_playbook.core.losses import losses_in_words
from backup_playbook.core.model import EncryptionRecord, EvidenceKind, Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines import scrub as scrub_module
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.engines.health import accept_unequal, gather_facts, lost_since
from backup_playbook.engines.recovery_points import find_recovery_points
from backup_playbook.engines.scrub import Scrub, Scrubbed
from backup_playbook.repository import catalog as catalog_module
from backup_playbook.repository.catalog import Catalog, CatalogEntry
from backup_playbook.repository.layout import manifest_key, objects_folder
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.offsite import copy_backup
from backup_playbook.repository.removal import remove_backup
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation
from embedded.s3 import S3Gateway
from tests.integration.repository.conftest import MakeStore
from tests.support.backups import manifest, said
from tests.support.bytes_engine import BytesEngine
from tests.support.damage import flip_a_bit, refuse_to_read
from tests.support.s3_proxy import Fault, Request, S3Proxy

DAY = timedelta(days=1)
ENGINE = BytesEngine({"small": b"rows\n" * 100, "large": bytes(range(256)) * 4096})
REPOSITORIES = ("primary", "offsite")
EXPECTED = Expected(
    due=datetime.now(UTC) - DAY / 2,
    rpo=DAY,
    proven_within=None,
    reread_within=30 * DAY,
    minimum_size=1,
    encryption=EncryptionRecord(),
    dags=Dags("back_up", "prove", "repair", "verify"),
)
Catalogs = Mapping[str, Catalog]


@pytest.fixture
def catalogs(store: ObjectStore, make_store: MakeStore, second_bucket: str) -> Catalogs:
    return {"primary": Catalog(store), "offsite": Catalog(make_store(second_bucket))}


def back_up(catalogs: Catalogs, codec: Codec | None = None, *, age: timedelta = timedelta()) -> Manifest:
    """As the nightly run does it: taken, verified, copied, the copy verified."""
    primary, offsite = catalogs.values()
    codec = codec or Codec()
    taken_at = datetime.now(UTC) - age
    manifest = take_backup(
        ENGINE, ENGINE, BackupWriter(primary.store, "shop", new_backup_id(taken_at), codec), Cancellation()
    )
    verify(primary, manifest, codec)
    copy_backup(primary, offsite, manifest, "", same_endpoint=False, streams=2, cancellation=Cancellation())
    verify(offsite, manifest, codec)
    return manifest


def verify(catalog: Catalog, manifest: Manifest, codec: Codec, depth: Depth = Depth.FULL) -> None:
    Verification(catalog, ENGINE, codec, depth).run("shop", manifest.backup_id, Cancellation(), manifest.seal)


def scrub(
    catalogs: Catalogs,
    codec: Codec | None = None,
    *,
    days_later: int = 2,
    cancellation: Cancellation | None = None,
    asked: bool = False,
) -> Scrubbed:
    """With a window of a day: everything that the last half day did not read."""
    work = Scrub(ENGINE, codec or Codec(), 2, cancellation or Cancellation())
    return work.run("shop", REPOSITORIES, catalogs.__getitem__, DAY, datetime.now(UTC) + days_later * DAY, asked=asked)


def findings(catalogs: Catalogs, done: Scrubbed | None = None, expected: Expected = EXPECTED) -> list[Finding]:
    facts = gather_facts(
        "shop", expected, REPOSITORIES, catalogs.__getitem__, datetime.now(UTC), done.unreadable if done else ()
    )
    return assess(facts, datetime.now(UTC))


def file_of(s3: S3Gateway, catalog: Catalog, manifest: Manifest) -> Path:
    """The gateway's file of the largest object."""
    largest = max(manifest.objects, key=lambda item: item.stored_bytes)
    folder = s3.buckets / catalog.store.bucket / catalog.store.prefix
    return folder / objects_folder("shop", manifest.backup_id) / largest.name


def test_all_well(catalogs: Catalogs) -> None:
    manifest = back_up(catalogs)
    done = scrub(catalogs)
    assert (done.read, done.rejected, done.bytes, done.unreadable) == (2, 0, 2 * manifest.stored_bytes, [])
    assert findings(catalogs, done) == []
    assert scrub(catalogs, days_later=0).read == 0


@pytest.mark.parametrize("damaged", REPOSITORIES)
def test_flipped_bit_is_found_until_it_is_repaired(s3: S3Gateway, catalogs: Catalogs, damaged: str) -> None:
    old, _ = back_up(catalogs, age=DAY), back_up(catalogs)
    assert findings(catalogs) == []
    file = file_of(s3, catalogs[damaged], old)
    flip_a_bit(file)
    assert scrub(catalogs).rejected == 1
    [finding] = findings(catalogs)
    assert (finding.severity, finding.key) == ("critical", f"shop/rejected/{damaged}/{old.backup_id}")
    assert file.name in finding.what
    verify(catalogs[damaged], old, Codec(), Depth.CHECKSUMS)
    assert [one.key for one in findings(catalogs)] == [finding.key], "the store's checksum knows nothing of its disk"
    flip_a_bit(file)
    assert scrub(catalogs).rejected == 0
    assert findings(catalogs) == []


def test_a_clock_that_was_ahead_hides_no_damage(
    s3: S3Gateway, catalogs: Catalogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + 90 * DAY

    monkeypatch.setattr(catalog_module, "datetime", Ahead)
    old, _ = back_up(catalogs, age=DAY), back_up(catalogs)
    monkeypatch.setattr(catalog_module, "datetime", datetime)
    file = file_of(s3, catalogs["primary"], old)
    flip_a_bit(file)
    assert scrub(catalogs, days_later=0).rejected == 1
    assert [finding.key for finding in findings(catalogs)] == [f"shop/rejected/primary/{old.backup_id}"]
    flip_a_bit(file)
    assert scrub(catalogs, days_later=0, asked=True).read == 1
    assert findings(catalogs) == []


def test_unequal_copy_is_a_finding_that_no_reading_ends(catalogs: Catalogs) -> None:
    old, newest = back_up(catalogs, age=DAY), back_up(catalogs)
    for catalog in catalogs.values():
        unequal = said(EvidenceKind.UNEQUAL, what="public.users has 3 rows instead of 4.")
        catalog.add_evidence("shop", old.backup_id, unequal, qualifier="restore")
    assert scrub(catalogs).rejected == 0
    [finding] = findings(catalogs)
    assert (finding.severity, finding.key) == ("high", f"shop/unequal/{old.backup_id}")
    assert "3 rows instead of 4" in finding.what
    answer = Accepted(by="alice", reason="another collation", run_id="manual")
    assert not accept_unequal(catalogs.values(), "shop", newest.backup_id, answer), "there is nothing to accept"
    assert accept_unequal(catalogs.values(), "shop", old.backup_id, answer)
    assert findings(catalogs) == []
    [accepted] = [name for name in catalogs["offsite"].entry("shop", old.backup_id).evidence if name.kind == "accepted"]
    assert catalogs["offsite"].read_evidence(CatalogEntry("shop", old.backup_id), accepted)["by"] == "alice"


def test_deleted_object_is_found(s3: S3Gateway, catalogs: Catalogs) -> None:
    old, _ = back_up(catalogs, age=DAY), back_up(catalogs)
    file_of(s3, catalogs["primary"], old).unlink()
    assert (scrub(catalogs).rejected, [item.severity for item in findings(catalogs)]) == (1, ["critical"])


def test_backup_exchanged_with_its_manifest_is_found(catalogs: Catalogs) -> None:
    """By somebody who knows the format: only what the first verification found differs."""
    old, _ = back_up(catalogs, age=DAY), back_up(catalogs)
    forged = old.model_copy(update={"details": {"forged": True}}).sealed()
    catalogs["primary"].store.put(manifest_key("shop", old.backup_id), forged.to_json())
    assert scrub(catalogs).rejected == 1
    [finding] = findings(catalogs)
    assert "not the one that the backup wrote" in finding.what


def test_edited_manifest_of_the_newest_backup_is_found_without_a_scrub(catalogs: Catalogs) -> None:
    newest = back_up(catalogs)
    edited = json.dumps(json.loads(newest.to_json()) | {"engine": "other"}).encode()
    catalogs["primary"].store.put(manifest_key("shop", newest.backup_id), edited)
    [finding] = findings(catalogs)
    assert finding.key == f"shop/rejected/primary/{newest.backup_id}"
    assert "changed after it was sealed" in finding.what


def test_repository_that_refuses_hides_no_other(catalogs: Catalogs, make_store: MakeStore) -> None:
    back_up(catalogs)
    gone = {"primary": Catalog(make_store("no-such-bucket")), "offsite": catalogs["offsite"]}
    done = scrub(gone)
    assert (done.read, [trouble.repository for trouble in done.unreadable]) == (1, ["primary"])
    [finding] = findings(gone, done)
    assert (finding.severity, finding.key, finding.blinding) == ("critical", "shop/unreadable/primary", True)
    assert "NoSuchBucket" in finding.what
    assert "Create the bucket" in finding.remedy


def test_missing_connection_is_a_finding(catalogs: Catalogs) -> None:
    def open_catalog(name: str) -> Catalog:
        if name == "offsite":
            raise ConfigError("Airflow has no connection 's3_offsite'.", "Create it.")
        return catalogs[name]

    back_up(catalogs)
    facts = gather_facts("shop", EXPECTED, REPOSITORIES, open_catalog, datetime.now(UTC))
    [finding] = assess(facts, datetime.now(UTC))
    assert (finding.key, finding.remedy) == ("shop/unreadable/offsite", "Create it.")


def test_objects_that_cannot_be_read_are_a_finding_and_no_rejection(catalogs: Catalogs, s3: S3Gateway) -> None:
    old, _ = back_up(catalogs, age=DAY), back_up(catalogs)
    file = file_of(s3, catalogs["primary"], old)

    def refuse(key: str) -> object:
        if key.endswith(file.name):
            raise ConfigError("Cannot read it: AccessDenied.", "Grant s3:GetObject.")
        return read(key)

    read = catalogs["primary"].store.read
    catalogs["primary"].store.read = refuse  # type: ignore[method-assign, assignment]
    done = scrub(catalogs)
    # the others are read nevertheless, and in the other repository too
    assert (done.read, done.rejected, done.unreadable) == (
        2, 0, [Unreadable("primary", "Cannot read it: AccessDenied.", "Grant s3:GetObject.")] * 2,
    )  # fmt: skip
    assert [finding.key for finding in findings(catalogs, done)] == ["shop/unreadable/primary"]


def test_an_object_that_its_disk_does_not_give_stops_no_other(
    catalogs: Catalogs, s3: S3Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, newest = back_up(catalogs, age=DAY), back_up(catalogs)
    primary, file = catalogs["primary"], file_of(s3, catalogs["primary"], old)
    refuse_to_read(monkeypatch, primary.store, lambda key: key.endswith(f"{old.backup_id}/{file.name}"))
    done = scrub(catalogs)
    assert (done.read, done.rejected) == (3, 0)
    [finding] = findings(catalogs, done)
    assert (finding.key, finding.blinding) == (f"shop/unreadable/primary/{old.backup_id}", False)
    assert f"{primary.store.url}/{objects_folder('shop', old.backup_id)}{file.name}" in finding.what
    assert "repair_backup" in finding.remedy
    # the other objects of the backup are compared nevertheless
    small = next(path for path in file.parent.iterdir() if path != file)
    flip_a_bit(small)
    assert scrub(catalogs, days_later=4).rejected == 1
    flip_a_bit(small)
    # a store that gives nothing at all says nothing of its backups
    refuse_to_read(monkeypatch, primary.store, lambda _: True)
    done = scrub(catalogs, days_later=6)
    assert (done.read, done.rejected) == (2, 0)
    assert [trouble.backup_id for trouble in done.unreadable] == [""]
    assert primary.entry("shop", newest.backup_id).verified


def test_backup_from_before_the_encryption_is_read_whole(catalogs: Catalogs) -> None:
    back_up(catalogs)
    with Keyring(Encryption(passphrase="a"), Cancellation()) as keyring:
        assert scrub(catalogs, Codec(1, keyring)).rejected == 0
    [entry] = catalogs["primary"].backups("shop")
    assert entry.verified
    assert entry.verified.qualifier == "full"
    key = EncryptionRecord(method="gpg_passphrase")
    [finding] = findings(catalogs, expected=replace(EXPECTED, encryption=key))
    assert (finding.severity, finding.key) == ("high", "shop/encryption")


def test_changed_passphrase_is_a_finding_and_no_rejection(catalogs: Catalogs) -> None:
    with Keyring(Encryption(passphrase="a"), Cancellation()) as keyring:
        back_up(catalogs, Codec(1, keyring))
    with Keyring(Encryption(passphrase="b"), Cancellation()) as keyring:
        done = scrub(catalogs, Codec(1, keyring))
    assert (done.rejected, len(done.unreadable)) == (0, 2)
    expected = replace(EXPECTED, encryption=EncryptionRecord(method="gpg_passphrase"))
    assert [finding.key for finding in findings(catalogs, done, expected)] == [
        "shop/unreadable/offsite",
        "shop/unreadable/primary",
    ]


def test_archived_backup_is_checked_without_reading_it(
    catalogs: Catalogs, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(catalogs)
    monkeypatch.setattr(ObjectStore, "storage_class", lambda self, key: "DEEP_ARCHIVE")
    proxy.reset(archived)
    assert scrub(catalogs).rejected == 0
    proxy.reset()
    [entry] = catalogs["primary"].backups("shop")
    assert entry.verified
    assert entry.verified.qualifier == "checksums"


def archived(request: Request) -> Fault | None:
    """As S3 answers a read from an archive."""
    if request.method == "GET" and "/objects/" in request.path and "list-type" not in request.path:
        return Fault(403, "InvalidObjectState")
    return None


def test_backup_that_retention_removes_meanwhile_is_no_finding(
    catalogs: Catalogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = back_up(catalogs, age=DAY), back_up(catalogs)

    def plan(entries: list[CatalogEntry], within: timedelta, now: datetime, *, asked: bool) -> list[CatalogEntry]:
        remove_backup(catalogs["primary"].store, "shop", old.backup_id)
        return entries

    monkeypatch.setattr(scrub_module, "plan_scrub", plan)
    done = scrub(catalogs)
    assert (done.read, done.rejected, done.unreadable) == (3, 0, [])


def test_ended_task_ends_the_scrub(catalogs: Catalogs) -> None:
    back_up(catalogs)
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        scrub(catalogs, cancellation=cancellation)


def test_sizes_come_from_the_verifications(catalogs: Catalogs) -> None:
    taken = [back_up(catalogs, age=days * DAY) for days in range(3)]
    facts = gather_facts("shop", EXPECTED, REPOSITORIES, catalogs.__getitem__, datetime.now(UTC))
    assert facts.sizes == (taken[1].stored_bytes, taken[2].stored_bytes)
    assert (facts.newest, facts.previous) == (taken[0], taken[1])
    assert facts.copies == {"offsite": taken[0].seal}


def test_a_loss_is_found_by_the_night_and_by_the_day(catalogs: Catalogs) -> None:
    for days, rows in ((2, 30_000), (1, 30_058), (0, 20_060)):
        taken = datetime.now(UTC) - days * DAY
        made = manifest(taken, {"payments": rows, "events": 4_000_000})
        catalogs["primary"].seal(made, "")
        catalogs["primary"].add_evidence("shop", made.backup_id, said(EvidenceKind.VERIFIED), qualifier="full")
    now = datetime.now(UTC)
    assert losses_in_words(lost_since(catalogs["primary"], made, now)) == "public.payments 30,058 -> 20,060"
    older = manifest(now - 1.5 * DAY, {}).backup_id
    catalogs["primary"].store.put(manifest_key("shop", older), b"{}")
    catalogs["primary"].add_evidence("shop", older, said(EvidenceKind.VERIFIED), qualifier="full")
    assert losses_in_words(lost_since(catalogs["primary"], made, now)) == "public.payments 30,058 -> 20,060"
    facts = gather_facts("shop", EXPECTED, REPOSITORIES, catalogs.__getitem__, now)
    assert [one.what for one in assess(facts, now) if one.key == "shop/rows"] == [
        f"Fewer since {facts.previous.backup_id if facts.previous else ''}: public.payments 30,058 -> 20,060."
    ]


def test_facts_of_a_night_take_few_requests(catalogs: Catalogs, proxy: S3Proxy) -> None:
    for days in range(3):
        back_up(catalogs, age=days * DAY)
    before = len(proxy.requests)
    gather_facts("shop", EXPECTED, REPOSITORIES, catalogs.__getitem__, datetime.now(UTC))
    assert len(proxy.requests) - before <= 2 + 3 + 2, "listings, manifests, verifications of earlier backups"


def test_recovery_points(catalogs: Catalogs, make_store: MakeStore) -> None:
    proven, newest = back_up(catalogs, age=DAY), back_up(catalogs)
    times = {"restore": 3.0, "prove": 1.0}
    restored = said(EvidenceKind.RESTORED, content_bytes=proven.content_bytes, seconds=times)
    catalogs["primary"].add_evidence("shop", proven.backup_id, restored, qualifier="primary")
    points = find_recovery_points("shop", REPOSITORIES, catalogs.__getitem__, ENGINE, datetime.now(UTC))
    assert {kind: point.backup_id for kind, point in points.newest.items()} == {
        "proven": proven.backup_id,
        "verified": newest.backup_id,
    }
    verified = points.newest["verified"]
    assert (verified.sound_in, verified.restore) == (REPOSITORIES, timedelta(seconds=4))
    assert verified.contents
    assert (verified.contents.stored_bytes, verified.contents.storage_class) == (newest.stored_bytes, "STANDARD")

    lost_region = {"primary": Catalog(make_store("no-such-bucket")), "offsite": catalogs["offsite"]}
    points = find_recovery_points("shop", REPOSITORIES, lost_region.__getitem__, ENGINE, datetime.now(UTC))
    assert points.newest["verified"].contents == verified.contents
    assert (points.newest["verified"].sound_in, points.newest["verified"].restore) == (("offsite",), None)
    assert "NoSuchBucket" in points.unreadable["primary"]
