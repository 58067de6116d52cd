"""The release of a hold: in every repository that has it, and what retention does then."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError

from backup_playbook.config import load_config
from backup_playbook.connections import s3
from backup_playbook.core.errors import GuardError, RepositoryError
from backup_playbook.core.evidence import Held
from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.operators.retention import ApplyRetention, ReleaseHold
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from tests.support.backups import said
from tests.support.bytes_engine import BytesEngine

BOTH = ("primary", "offsite")
NO_ENDPOINT = {
    "endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1",
    "config_kwargs": {"retries": {"total_max_attempts": 1}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    messages: list[Message] = []
    monkeypatch.setattr(runs, "deliver", messages.append)
    return messages


@pytest.fixture
def held(uploads: Path) -> str:
    """An old backup of the source `shop`, held in both repositories; retention keeps nothing but the newest one."""
    policies = load_config().folder / "policies.yaml"
    known = yaml.safe_load(policies.read_text())
    known["retention"]["standard"] = {"daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "keep_newest": 1}
    policies.write_text(yaml.safe_dump(known))
    now = datetime.now(UTC)
    old, newest = new_backup_id(now - timedelta(days=10)), new_backup_id(now)
    engine: Any = BytesEngine({"content": b"content"})
    for repository in map(catalog, BOTH):
        for backup_id in (old, newest):
            take_backup(engine, engine, BackupWriter(repository.store, "shop", backup_id, Codec()), Cancellation())
            repository.add_evidence("shop", backup_id, said(EvidenceKind.VERIFIED), qualifier="full")
        repository.add_evidence("shop", old, Held(reason="before the migration", run_id="a run"))
    return old


def catalog(repository: str) -> Catalog:
    return s3.catalog(load_config(), repository)


def context() -> Any:
    instance = SimpleNamespace(dag_id="release_hold", run_id="manual__1", xcom_push=lambda **_: None)
    return {"ti": instance, "dag_run": SimpleNamespace(triggering_user_name="ada", run_id="manual__1")}


def release(backup_id: str, reason: str = "") -> Any:
    step = ReleaseHold(task_id="release_hold", source="shop", backup=backup_id, reason=reason)
    return step.execute(context())


def prune() -> dict[str, list[str]]:
    """What retention removes, by repository."""
    done = ApplyRetention(task_id="prune", source="shop").execute(context())
    return {name: found["removed"] for name, found in done.items()}


def test_retention_removes_what_is_released(held: str, told: list[Message]) -> None:
    assert prune() == {"primary": [], "offsite": []}
    assert release(held, "The migration went well.") == ["primary", "offsite"]
    for repository in map(catalog, BOTH):
        entry = repository.entry("shop", held)
        assert entry.sealed, "nothing is removed now"
        assert not entry.held
        note = entry.latest(EvidenceKind.RELEASED)
        assert note
        written = repository.read_evidence(entry, note)
        assert (written["by"], written["reason"], written["run_id"]) == (
            "ada", "The migration went well.", "manual__1",
        )  # fmt: skip
    [message] = told
    assert (message.severity, message.headline) == ("info", f"shop: the hold of {held} is released")
    assert message.lines == (
        "Retention removes it, in primary, offsite, when no rule keeps it. The migration went well.",
    )
    assert message.link.endswith("/dags/release_hold/runs/manual__1")
    assert prune() == {"primary": [held], "offsite": [held]}


def test_what_is_not_held_is_refused(held: str, told: list[Message]) -> None:
    newest = catalog("primary").backups("shop")[0].backup_id
    for backup_id in (newest, "20200101T000000Z-0c1d2e"):
        with pytest.raises(GuardError, match=f"^{backup_id} of shop is not held in primary, offsite") as refused:
            release(backup_id)
        assert "Copy the id from list_recovery_points" in refused.value.remedy
        assert not catalog("primary").entry("shop", backup_id).latest(EvidenceKind.RELEASED)
    assert told == []
    assert catalog("primary").entry("shop", held).held


def test_repository_that_is_unreachable_is_released_when_the_task_is_cleared(
    held: str, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        connection = {"conn_type": "aws", "login": "x", "password": "x", "extra": NO_ENDPOINT}
        patched.setenv("AIRFLOW_CONN_S3_OFFSITE", json.dumps(connection))
        with pytest.raises(RepositoryError, match=r"127\.0\.0\.1:9"):
            release(held)
    assert told == []
    assert [catalog(name).entry("shop", held).held for name in BOTH] == [False, True]
    assert release(held) == ["offsite"]
    assert prune() == {"primary": [held], "offsite": [held]}


def test_backup_that_is_held_again_stays(held: str) -> None:
    release(held)
    for repository in map(catalog, BOTH):
        repository.add_evidence("shop", held, Held(reason="for the auditors", run_id=None))
    assert prune() == {"primary": [], "offsite": []}
    assert release(held) == ["primary", "offsite"]


def test_form(dagbag: DagBag) -> None:
    dag = dagbag.dags["release_hold"]
    assert (dag.schedule, set(dag.params)) == (None, {"source", "backup", "reason"})
    for name, value in (("source", "shopp"), ("backup", "latest"), ("backup", "")):
        with pytest.raises(ParamValidationError):
            dag.params.get_param(name).resolve(value)
