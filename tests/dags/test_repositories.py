"""Two repositories, of which one is away, or not to be written to: what is read, what is kept where, what is said."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from backup_playbook.config import PlaybookConfig, load_config
from backup_playbook.connections import s3 as stores
from backup_playbook.connections.backups import Backups
from backup_playbook.connections.postgres import PostgresAccess
from backup_playbook.core.errors import PlaybookError, RepositoryError, VerificationError
from backup_playbook.core.evidence import Restored
from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.recovery_points import NoSuchBackupError
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.protection import last_verified
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.backup import CopyOffsite
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.handoffs import Exchanged, Proven, Replacing, Restoring, Taken
from backup_playbook.operators.records import ImportRecords
from backup_playbook.operators.recovery_report import DocumentRecovery
from backup_playbook.operators.restore import RestoreStep
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import manifest_key, objects_folder
from backup_playbook.repository.outbox import Outbox
from embedded.postgres import PostgresServer
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.dags.conftest import back_up, connect
from tests.dags.run_of_tasks import RunOfTasks, named
from tests.support.backups import said

KEYS = {"login": "x", "password": "not the key"}
NONSENSE = {"extra": {"endpoint_url": "no address"}}
NO_ENDPOINT = {"extra": {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}}
PROOF = Restored(
    report=None, seconds={}, rto_seconds=None, content_bytes=None, target=None, repository="primary", paths=None,
    run=None,
)  # fmt: skip


@pytest.fixture
def config(
    live: str, bucket: Bucket, s3: S3Gateway, postgres18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> PlaybookConfig:
    """The source `shop` with its backup of 7 rows, verified in both repositories."""
    folder = load_config().folder
    repositories = yaml.safe_load((folder / "repositories.yaml").read_text())
    repositories["repositories"]["offsite"] = {
        "connection": "s3_offsite", "bucket": f"{bucket.name}-2", "conditional_writes": True,
    }  # fmt: skip
    (folder / "repositories.yaml").write_text(yaml.safe_dump(repositories))
    s3.create_bucket(f"{bucket.name}-2")
    monkeypatch.setenv("AIRFLOW_CONN_S3_OFFSITE", json.dumps(_connection(s3)))
    [taken] = stores.catalog(load_config(), "primary").backups("shop")
    copy_offsite(taken.backup_id)
    return load_config()


def _connection(s3: S3Gateway, **more: Any) -> dict[str, Any]:
    extra = {"endpoint_url": s3.endpoint_url, "region_name": s3.region}
    return {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra} | more


def copy_offsite(backup_id: str) -> None:
    """Verified, copied, and verified there."""
    primary, offsite = (stores.catalog(load_config(), name) for name in ("primary", "offsite"))
    primary.add_evidence("shop", backup_id, said(EvidenceKind.VERIFIED), qualifier="full")
    copy(backup_id)
    offsite.add_evidence("shop", backup_id, said(EvidenceKind.VERIFIED), qualifier="full")


def copy(backup_id: str) -> None:
    taken = Taken(
        source="shop", backup_id=backup_id, seal="", tables=1, rows=7, content_bytes=1, stored_bytes=1,
        encryption="none", seconds=1, summary="",
    )  # fmt: skip
    RunOfTasks().do(CopyOffsite(task_id="copy_offsite", handoff=taken.as_json()))


@pytest.fixture
def away(config: PlaybookConfig, s3: S3Gateway, monkeypatch: pytest.MonkeyPatch) -> PlaybookConfig:
    """The primary repository does not answer."""
    monkeypatch.setenv("AIRFLOW_CONN_S3_PRIMARY", json.dumps(_connection(s3, **NO_ENDPOINT)))
    return config


def choose(repository: str = "any", **more: Any) -> Any:
    return RunOfTasks().do(ChooseBackup(task_id="choose_backup", source="shop", repository=repository, **more))


def catalogs(config: PlaybookConfig) -> list[Catalog]:
    return [stores.catalog(config, name) for name in ("primary", "offsite")]


def test_backup_is_read_where_it_is(config: PlaybookConfig, s3: S3Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the primary repository is gone: refused, no answer, nonsense, no connection, no bucket."""
    good = json.dumps(_connection(s3))
    broken = [json.dumps(_connection(s3, **one)) for one in (KEYS, NO_ENDPOINT, NONSENSE)]
    for connection in (*broken, None, good):
        if connection is None:
            monkeypatch.delenv("AIRFLOW_CONN_S3_PRIMARY")
        else:
            monkeypatch.setenv("AIRFLOW_CONN_S3_PRIMARY", connection)
        if connection == good:
            file = config.folder / "repositories.yaml"
            file.write_text(file.read_text().replace(config.repository("primary").bucket + "\n", "no-such-bucket\n", 1))
        chosen = choose()
        assert (chosen["repository"], chosen["unverified"]) == ("offsite", False)
        assert chosen["remark"].startswith("Read from offsite, and not from primary: ")
    with pytest.raises(PlaybookError) as refused:
        choose("primary")
    assert "Or choose `offsite` in the field Repository" in refused.value.remedy
    assert chosen["backup_id"] in refused.value.remedy


def test_newest_good_copy_is_taken_wherever_it_is(
    config: PlaybookConfig, live: str, postgres18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, _ = catalogs(config)
    assert (choose()["repository"], choose()["remark"]) == ("primary", "")
    newest = back_up(postgres18.dsn(live), datetime.now(UTC) + timedelta(seconds=1))
    copy_offsite(newest.backup_id)
    primary.add_evidence("shop", newest.backup_id, said(EvidenceKind.REJECTED), qualifier="full")
    chosen = choose()
    assert (chosen["repository"], chosen["backup_id"]) == ("offsite", newest.backup_id)
    assert "the newest good one there is 2" in chosen["remark"]
    for takes_damaged in (False, True):
        monkeypatch.setattr(ChooseBackup, "takes_damaged", takes_damaged)
        assert choose(backup=newest.backup_id, allow_unverified="True")["repository"] == "offsite"
    monkeypatch.setattr(ChooseBackup, "takes_damaged", False)
    primary.store.put(manifest_key("shop", newest.backup_id), b"damaged")
    with pytest.raises(NoSuchBackupError, match="was rejected") as refused:
        choose("primary", backup=newest.backup_id)
    assert f"offsite has the verified backup {newest.backup_id}" in refused.value.remedy
    with pytest.raises(RepositoryError, match=r"primary: shop has no verified .* offsite: shop has no verified "):
        choose(before="2020-01-01T00:00:00+00:00")


def test_error_in_the_middle_names_the_other_copy(config: PlaybookConfig) -> None:
    step = RestoreStep(task_id="restore", handoff=choose())
    primary, _ = catalogs(config)
    folder = objects_folder("shop", step.handoff.backup_id)
    with pytest.raises(RepositoryError) as refused, step.reader():
        b"".join(primary.store.read(f"{folder}gone.zst"))
    assert "choose `offsite` in the field Repository" in refused.value.remedy
    primary.store.put(manifest_key("shop", step.handoff.backup_id), b"{}")
    with pytest.raises(VerificationError, match="is not a manifest") as damaged, step.reader():
        pass
    assert "choose `offsite` in the field Repository" in damaged.value.remedy


def test_undo_goes_where_the_backup_was_read_and_else_nothing_is_written(
    away: PlaybookConfig, monkeypatch: pytest.MonkeyPatch, s3: S3Gateway
) -> None:
    step = ImportRecords(task_id="import_rows", handoff=choose(), table="notes")
    _, offsite = catalogs(away)
    address = step.keep_undo(b"DELETE ...")
    assert offsite.store.get(address.removeprefix(f"{offsite.store.url}/")) == b"DELETE ..."
    monkeypatch.setenv("AIRFLOW_CONN_S3_OFFSITE", json.dumps(_connection(s3, **KEYS)))
    with pytest.raises(RepositoryError, match=r"^offsite: Cannot write .*; primary: Cannot write "):
        step.keep_undo(b"DELETE ...")


@pytest.mark.parametrize("lost", [False, True])
def test_recovery_that_happened_is_green_whatever_becomes_of_its_report(
    away: PlaybookConfig, s3: S3Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lost: bool
) -> None:
    told: list[Message] = []
    monkeypatch.setattr(runs, "deliver", told.append)
    run, now = RunOfTasks(), datetime.now(UTC)
    replacing = Replacing(
        live="shop", live_id="1", quarantine="shop__quarantine_1", planned_at=now, candidate_id="2",
        exchanged=Exchanged(promoted_at=now, unreachable_seconds=0.1, sessions_ended=0),
    )  # fmt: skip
    recovery = Restoring.read(choose()).adding(
        scratch="scratch_shop_1", phases={"restore: data": 1.0}, proof=Proven(tables=1, schema_objects=1),
        replacing=replacing,
    )  # fmt: skip
    run.left["promote_copy", "return_value"], run.states["promote_copy"] = recovery, "success"
    if lost:
        monkeypatch.setenv("AIRFLOW_CONN_S3_OFFSITE", json.dumps(_connection(s3, **KEYS)))
    steps = named(["promote_copy"], ["promote_copy"])
    done = run.do(DocumentRecovery(task_id="document_recovery", source="shop", steps=steps))
    [message] = told
    assert message.headline.startswith("shop was recovered from ")
    if lost:
        assert done["report"] == ""
        assert "Its report is in this task's log only" in message.text()
        assert "offsite does not know of this proof" in message.text()
        assert "# shop was recovered from" in caplog.text
    else:
        assert done["report"].startswith(catalogs(away)[1].store.url)
        assert "primary does not know of this proof" in message.text()
        proven = Backups(away, "shop").proven(datetime.now(UTC))
        assert proven
        assert proven.backup_id == recovery["backup_id"]


def test_proof_is_known_to_every_verified_copy_of_the_same_backup(
    config: PlaybookConfig, live: str, postgres18: PostgresServer
) -> None:
    primary, offsite = catalogs(config)
    unread = back_up(postgres18.dsn(live), datetime.now(UTC) + timedelta(seconds=1))
    primary.add_evidence("shop", unread.backup_id, said(EvidenceKind.VERIFIED))
    copy(unread.backup_id)
    read = next(one for one in primary.backups("shop") if one.backup_id != unread.backup_id).backup_id
    for backup_id in (read, unread.backup_id):
        origin = primary.manifest("shop", backup_id).origin_seal
        assert Backups(config, "shop").add_proof(backup_id, origin, PROOF) == []
    assert {one.backup_id for one in primary.backups("shop") if one.proven} == {read, unread.backup_id}
    assert [one.backup_id for one in offsite.backups("shop") if one.proven] == [read]
    offsite.add_evidence("shop", unread.backup_id, said(EvidenceKind.VERIFIED))
    copy(read)
    names = [[one.evidence for one in catalog.backups("shop")] for catalog in (primary, offsite)]
    proofs = [[[one for one in some if one.kind is EvidenceKind.RESTORED] for some in both] for both in names]
    assert proofs[0] == proofs[1]
    assert all(proofs[0])


def test_production_is_recognised_by_a_backup_in_any_repository(
    away: PlaybookConfig, live: str, postgres18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [reached] = PostgresAccess(away, "shop").production()
    connect(monkeypatch, "postgres_shop", postgres18, "localhost", "no_such_database")
    [remembered] = PostgresAccess(away, "shop").production()
    assert remembered.is_same(reached)


def test_messages_say_what_can_be_reached_and_wait_there(
    away: PlaybookConfig, s3: S3Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "in `offsite`, which is all that can be reached" in last_verified("shop").sentence()
    message = Message(severity="high", headline="a headline")
    assert deliver(message), "there is no Slack here"
    _, offsite = catalogs(away)
    [item] = Outbox(offsite.store).waiting(datetime.now(UTC))
    assert b"a headline" in item.body
