"""A MongoDB source by configuration alone: from its entry and its Airflow connections to a backup, and to a scratch."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backup_playbook.config import PlaybookConfig
from backup_playbook.connections.mongodb import MongoAccess
from backup_playbook.connections.registry import access
from backup_playbook.core.errors import ConfigError, GuardError
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.operators.backup import DumpCompressUpload, VerifyBackup
from backup_playbook.operators.checks import CompareWithProduction, RunApplicationChecks
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.restore import CreateScratch, DropScratch, ProveScratch, RestoreScratch
from backup_playbook.operators.restore_report import DocumentRestoreTest
from backup_playbook.repository.layout import manifest_key
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.streams.processes import Cancellation
from tests.conftest import MongoDatabase
from tests.dags.conftest import mongo_connection
from tests.dags.run_of_tasks import RunOfTasks, named
from tests.support.backups import said
from tests.support.mongo_mask import ReplicaSet


def back_up(reviews: Any) -> Manifest:
    with reviews.codec(Cancellation()) as codec:
        writer = BackupWriter(reviews.catalog().store, "reviews", new_backup_id(datetime.now(UTC)), codec)
        return take_backup(reviews.source(), reviews.engine, writer, Cancellation())


def test_backed_up_counted_and_restored(mongo_config: PlaybookConfig, mongo_database: MongoDatabase) -> None:
    reviews = access(mongo_config, "reviews")
    manifest = back_up(reviews)
    assert manifest.engine == reviews.engine.name == "mongodb"
    assert reviews.engine.summary(manifest) == "1 collection, 2 documents"
    assert reviews.count() == {f"{mongo_database.name}.reviews": 2}
    scratch = reviews.copy_server().scratch(scratch_name("reviews"), "run")
    scratch.create(manifest)
    try:
        assert [found.owner for found in scratch.host.list_scratches() if found.name == scratch.name] == ["run"]
        assert f"/{scratch.name}" in scratch.url
    finally:
        scratch.drop()


def test_steps_of_a_night_and_of_a_restore_test(mongo_config: PlaybookConfig, mongo_database: MongoDatabase) -> None:
    run = RunOfTasks()
    taken = run.do(DumpCompressUpload(task_id="dump_compress_upload", source="reviews"))
    assert taken["summary"].startswith("1 collection, 2 documents; ")
    catalog, damaged = access(mongo_config, "reviews").catalog(), "20260101T000000Z-000000"
    assert VerifyBackup(task_id="verify", handoff=taken)._verify(catalog).depth == "full"
    chosen = run.do(ChooseBackup(task_id="choose_backup", source="reviews"))
    assert chosen["backup_id"] == taken["backup_id"]
    with pytest.raises(GuardError, match="was exchanged since it was chosen"):
        run.do(CreateScratch(task_id="create_scratch", handoff={**chosen, "seal": "of a repaired one"}))
    assert run.xcom_pull("create_scratch", "facts") is None, "it is no damage"
    scratch = run.do(CreateScratch(task_id="create_scratch", handoff=chosen))
    assert scratch["scratch"] in mongo_database.client.list_database_names()
    restored = run.do(RestoreScratch(task_id="restore", handoff=scratch))
    proven = run.do(ProveScratch(task_id="prove", handoff=restored))
    catalog.store.put(manifest_key("reviews", damaged), b"{}")
    catalog.add_evidence("reviews", damaged, said(EvidenceKind.VERIFIED), qualifier="full")
    compared = run.do(CompareWithProduction(task_id="compare_with_production", handoff=proven))
    run.do(RunApplicationChecks(task_id="run_application_checks", handoff=compared))
    names = ["choose_backup", "create_scratch", "restore", "prove", "compare_with_production", "run_application_checks"]
    steps = named(names, names)
    documented = run.do(DocumentRestoreTest(task_id="document_result", source="reviews", steps=steps))
    assert documented["passed"]
    assert documented["remarks"] == []
    run.do(DropScratch(task_id="drop_scratch", handoff=scratch))
    assert scratch["scratch"] not in mongo_database.client.list_database_names()
    assert catalog.entry("reviews", taken["backup_id"]).proven


def test_production_is_known_from_its_newest_backup_when_it_is_away(
    mongo_config: PlaybookConfig,
    replica_set: ReplicaSet,
    mongo_database: MongoDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reviews = MongoAccess(mongo_config, "reviews")
    back_up(reviews)
    [reached] = reviews.production()
    mongo_connection(monkeypatch, "mongo_reviews", "127.0.0.1:1", schema="x", extra={"serverSelectionTimeoutMS": 200})
    [remembered] = reviews.production()
    assert remembered.collections == reached.collections
    assert remembered.name == "reviews"
    scratch = reviews.copy_server().scratch(mongo_database.name)
    with pytest.raises(GuardError, match="is the production database reviews"):
        scratch.drop()


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ({"schema": ""}, "Nothing says which database of its server the source 'reviews' is"),
        ({"conn_type": "postgres"}, "is of the type 'postgres'"),
    ],
)
def test_connections_that_lead_nowhere(
    connection: dict[str, str], message: str, mongo_config: PlaybookConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    mongo_connection(monkeypatch, "mongo_reviews", "127.0.0.1:1", **connection)
    with pytest.raises(ConfigError, match=message) as caught:
        access(mongo_config, "reviews").source()
    assert "mongo_reviews" in str(caught.value)


def test_a_connection_that_airflow_does_not_have(mongo_config: PlaybookConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_MONGO_REVIEWS")
    with pytest.raises(ConfigError, match=r"sources\.yaml: sources\.reviews\.connection names"):
        access(mongo_config, "reviews").source()


def test_options_of_the_connection_reach_the_driver(
    mongo_config: PlaybookConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"ssl": True, "allow_insecure": True, "replicaSet": "rs0", "authSource": "users"}
    mongo_connection(monkeypatch, "mongo_reviews", "db:27017", schema="shop", login="u", password="p@:/", extra=extra)
    server = MongoAccess(mongo_config, "reviews").server
    assert server.label == "shop at db:27017 as u"
    assert server.at_primary().options == {**server.options, "readPreference": "primary"}
    assert server.uri == "mongodb://u:p%40%3A%2F@db:27017/shop"
    assert {"tls": True, "tlsAllowInvalidCertificates": True, "replicaSet": "rs0"}.items() <= server.options.items()
    assert "p%40" not in repr(server)
