"""The graph of the nightly file backup, and its steps one after the other on a real repository."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskAwaitingInput

from backup_playbook.config import load_config
from backup_playbook.connections import s3
from backup_playbook.connections.files import FilesAccess
from backup_playbook.core.errors import GuardError, SourceError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.operators import delete_guard
from backup_playbook.operators.approval import ApprovalError
from backup_playbook.operators.backup import VERIFIED_BACKUPS, CopyOffsite, VerifyBackup
from backup_playbook.operators.delete_guard import GuardDeletions
from backup_playbook.operators.files import ScanFiles, SealFiles, SyncFiles
from backup_playbook.operators.retention import ApplyRetention
from backup_playbook.operators.verification import AssessSource, ScrubBackups
from backup_playbook.repository.catalog import Catalog
from tests.support.backups import said

SOURCE = "uploads"
TI: Any = SimpleNamespace(dag_id="nightly_file_backup", run_id="test", task_id="guard", map_index=0, id="0")


def context() -> Any:
    events = {VERIFIED_BACKUPS: SimpleNamespace(add=lambda *arguments, **more: None)}
    run = SimpleNamespace(run_type="scheduled")
    return {"ti": TI, "run_id": "test", "outlet_events": events, "dag_run": run}


def scan() -> Any:
    return ScanFiles(task_id="scan", source=SOURCE).execute(context())


def back_up() -> Any:
    scanned = scan()
    GuardDeletions(task_id="guard", handoff=scanned).execute(context())
    synced = SyncFiles(task_id="sync", handoff=scanned).execute(context())
    sealed = SealFiles(task_id="seal", handoff=synced, hold="True", reason="before the move").execute(context())
    verified = VerifyBackup(task_id="verify", handoff=sealed).execute(context())
    copied = CopyOffsite(task_id="copy_offsite", handoff=verified).execute(context())
    return VerifyBackup(task_id="verify_offsite", handoff=copied, offsite=True).execute(context())


def catalog(repository: str) -> Catalog:
    return s3.catalog(load_config(), repository)


def test_graph(dagbag: DagBag) -> None:
    dag: DAG = dagbag.dags["nightly_file_backup"]
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "list_sources": {"protect.scan", "prune"},
        "protect.scan": {"protect.guard", "protect.sync"},
        "protect.guard": {"protect.sync"},
        "protect.sync": {"protect.seal"},
        "protect.seal": {"protect.verify"},
        "protect.verify": {"protect.copy_offsite"},
        "protect.copy_offsite": {"protect.verify_offsite"},
        "protect.verify_offsite": {"prune"},
        "prune": {"announce_result"},
        "announce_result": set(),
    }


def test_a_night(uploads: Path) -> None:
    (uploads / "a").write_bytes(b"one")
    (uploads / "folder").mkdir()
    (uploads / "folder/b").write_bytes(b"two")
    taken = back_up()
    assert taken["summary"] == "2 files, 6 B: 2 uploaded (6 B)"
    assert taken["verified"] == {"primary": "full", "offsite": "full"}
    for repository in ("primary", "offsite"):
        (entry,) = catalog(repository).backups(SOURCE)
        assert entry.verified
        assert entry.held
        objects = {item.key.rpartition("/")[2] for item in catalog(repository).store.list("objects/")}
        assert objects == {"tree-00000.jsonl.zst"}, "what the steps left for each other is gone"
    assert ApplyRetention(task_id="prune", source=SOURCE).execute(context())["primary"] == {
        "kept": 1, "removed": [], "swept": [], "versions": 0,
    }  # fmt: skip
    assert back_up()["summary"] == "2 files, 6 B: 0 uploaded (0 B)"


def test_an_older_run_is_cleared_after_a_newer_one(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (uploads / "a").write_bytes(b"one")
    back_up()
    (uploads / "a").write_bytes(b"second")
    with monkeypatch.context() as patched:
        patched.setattr(FilesAccess, "copy", lambda *arguments: True)
        patched.setattr(VerifyBackup, "_verify", verified_where_it_is(VerifyBackup._verify))
        time.sleep(1.1)  # backup ids are ordered by their seconds
        older = back_up()
    scanned = scan()
    (uploads / "a").write_bytes(b"the third")
    time.sleep(1.1)
    back_up()
    copied = CopyOffsite(task_id="copy_offsite", handoff=older).execute(context())
    VerifyBackup(task_id="verify_offsite", handoff=copied, offsite=True).execute(context())
    assert len(catalog("offsite").backups(SOURCE)) == 3
    with pytest.raises(SourceError, match="would turn the current state back"):
        SyncFiles(task_id="sync", handoff=scanned).execute(context())
    for repository in ("primary", "offsite"):
        assert catalog(repository).store.get(f"current/{SOURCE}/a") == b"the third"


def verified_where_it_is(verify: Any) -> Any:
    return lambda self, catalog: (
        said(EvidenceKind.VERIFIED, depth="full") if catalog.store.name == "offsite" else verify(self, catalog)
    )


def test_the_daily_verification_finds_nothing(uploads: Path) -> None:
    (uploads / "a").write_bytes(b"one")
    back_up()
    scrubbed = ScrubBackups(task_id="scrub", source=SOURCE).execute(context())
    assert scrubbed["unreadable"] == []
    assessment = AssessSource(task_id="assess", source=SOURCE, scrubbed=scrubbed).execute(context())
    assert assessment["findings"] == []


def test_seal_may_be_cleared(uploads: Path) -> None:
    (uploads / "a").write_bytes(b"one")
    synced = SyncFiles(task_id="sync", handoff=scan()).execute(context())
    seals = {SealFiles(task_id="seal", handoff=synced).execute(context())["seal"] for _ in range(2)}
    assert len(seals) == 1


def test_a_person_is_asked_when_files_are_lost(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (uploads / "a|b").mkdir()
    for name in [f"a|b/{number}" for number in range(11)] + ["c"]:
        (uploads / name).write_bytes(b"content")
    back_up()
    shutil.rmtree(uploads / "a|b")
    (uploads / "c").unlink()
    scanned = scan()
    assert "12 of 12 files (100%) are lost" in scanned["stop"]
    guard = GuardDeletions(task_id="guard", handoff=scanned)
    told: list[Any] = []
    monkeypatch.setattr(delete_guard, "deliver", told.append)
    monkeypatch.setattr(delete_guard, "run_url", lambda *arguments: "http://127.0.0.1/")
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **detail: told.append(detail)
    )
    with pytest.raises(TaskAwaitingInput):
        guard.execute({"ti": TI, "task_instance": TI})
    message, detail = told
    assert (message.severity, message.lines) == ("high", (scanned["stop"],))
    assert "nothing is changed" in detail["body"]
    assert "No longer there, the first of them: a\\|b/, c\n" in detail["body"]
    assert "would remove 13 paths" in detail["body"]
    with pytest.raises(GuardError, match="Nothing was deleted"):
        guard.execute_complete(context(), {"chosen_options": ["Reject"]})
    with pytest.raises(GuardError, match="Nobody has answered"):
        guard.process_trigger_event_error({"error_type": "timeout", "error": ""})
    approve, _ = detail["options"]
    event = {
        "chosen_options": [approve],
        "params_input": {},
        "responded_at": datetime.now(UTC),
        "responded_by_user": None,
    }
    other: Any = GuardDeletions(task_id="guard", handoff={**scanned, "gone": ["another"]})
    with pytest.raises(ApprovalError, match="is no answer to the plan"):
        other.execute_complete(context(), event)
    answer = guard.execute_complete(context(), event)
    for scan_of, given in ((scanned, None), ({**scanned, "gone": ["another"]}, answer)):
        with pytest.raises(GuardError, match="has not agreed"):
            SyncFiles(task_id="sync", handoff=scan_of, guard=given).pre_execute(context())
    SyncFiles(task_id="sync", handoff=scanned, guard=answer).pre_execute(context())
    assert len(list(catalog("primary").store.list(f"current/{SOURCE}/"))) == 12
