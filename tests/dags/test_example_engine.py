"""The example engine, plugged in by two shared modules: its backup, restore test and recoveries by the operators."""

import ast
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import BaseOperator

import backup_playbook
from backup_playbook.config.load import DEFAULT_FOLDER
from backup_playbook.core.errors import ConfigError
from backup_playbook.forms.sources import sources
from backup_playbook.notifiers import runs
from backup_playbook.operators.approval import CHOSEN, ApprovePlan
from backup_playbook.operators.backup import DumpCompressUpload, VerifyBackup
from backup_playbook.operators.checks import CompareWithProduction, RunApplicationChecks
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.quarantine import BringBackQuarantine, PlanRollback
from backup_playbook.operators.records import (
    ChooseRecordsBackup,
    DocumentRecords,
    FindRecords,
    ImportRecords,
    VerifyRecords,
)
from backup_playbook.operators.recovery import CollectEvidence, PlanRecovery, PromoteCopy
from backup_playbook.operators.recovery_report import DocumentRecovery
from backup_playbook.operators.report import FACTS
from backup_playbook.operators.restore import PRODUCTION, CreateScratch, DropScratch, ProveScratch, RestoreScratch
from backup_playbook.operators.restore_report import DocumentRestoreTest
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.dags.run_of_tasks import RunOfTasks
from tests.support.example_engine.settings import plug_in

PLUGINS = Path(backup_playbook.__file__).parent
SHARED = {"connections/registry.py", "config/models.py"}
"""The modules that name an engine, of those that are not its own."""
WANTED: dict[str, Any] = {"table": "entries", "keys": ["2"]}


class Run(RunOfTasks):
    """A run whose ending knows the steps that were done."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[BaseOperator] = []

    def step(self, operator: BaseOperator) -> Any:
        self.steps.append(operator)
        return self.do(operator)

    def approve(self, plan: BaseOperator) -> Any:
        return self.step(ApprovePlan(task_id="approve_plan", subject="It", plan=plan, drill=True))


@pytest.fixture(autouse=True)
def _no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "deliver", lambda _: None)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the source `ledger`, and a place for its copies."""
    plug_in(monkeypatch)
    folder, live, staging = (tmp_path / name for name in ("config", "live", "staging"))
    shutil.copytree(DEFAULT_FOLDER, folder)
    policies = yaml.safe_load((folder / "policies.yaml").read_text()) | {"recovery": {"unattended_drills": True}}
    check = {"check": "sql", "name": "balance", "query": "SELECT sum(amount) FROM entries", "expect": 0}
    source = {
        "engine": "sqlite", "directory": str(live), "database": "ledger", "repository": "primary",
        "retention": "standard", "objectives": "standard", "recovery": {},
        "restore_test": {"target": "staging", "checks": [check]},
    }  # fmt: skip
    for file, document in (
        ("sources.yaml", {"sources": {"ledger": source}}),
        ("targets.yaml", {"targets": {"staging": {"engine": "sqlite", "directory": str(staging)}}}),
        ("policies.yaml", policies),
    ):
        (folder / file).write_text(yaml.safe_dump(document))
    monkeypatch.setenv("BACKUP_PLAYBOOK_CONFIG", str(folder))
    return folder


@pytest.fixture
def ledger(config: Path, s3: S3Gateway, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The database of the source, which has three entries and a verified backup."""
    repositories = {"primary": {"connection": "s3_primary", "bucket": bucket.name}}
    (config / "repositories.yaml").write_text(yaml.safe_dump({"repositories": repositories}))
    extra = {"endpoint_url": s3.endpoint_url, "region_name": s3.region}
    store = {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_S3_PRIMARY", json.dumps(store))
    live, staging = config.parent / "live", config.parent / "staging"
    live.mkdir()
    staging.mkdir()
    database = live / "ledger.sqlite3"
    do(database, "CREATE TABLE entries (id INTEGER PRIMARY KEY, amount INT)")
    do(database, "INSERT INTO entries VALUES (1, 5), (2, -9), (3, 4)")
    run = Run()
    taken = run.do(DumpCompressUpload(task_id="dump_compress_upload", source="ledger"))
    assert run.do(VerifyBackup(task_id="verify", handoff=taken))["verified"] == {"primary": "full"}
    yield database
    assert list(staging.iterdir()) == []


def do(database: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as session, session:
        return session.execute(statement).fetchall()


def amounts(database: Path) -> dict[int, int]:
    return dict(do(database, "SELECT * FROM entries"))


def test_forms_offer_it(config: Path) -> None:
    assert sources("database", records="rows", recovery=True) == ["ledger"]
    assert sources("database", tested=True) == ["ledger"]


def test_restore_test(ledger: Path) -> None:
    run = Run()
    chosen = run.step(ChooseBackup(task_id="choose_backup", source="ledger"))
    scratch = run.step(CreateScratch(task_id="create_scratch", handoff=chosen, try_owners=True))
    restored = run.step(RestoreScratch(task_id="restore", handoff=scratch))
    proven = run.step(ProveScratch(task_id="prove", handoff=restored))
    compared = run.step(CompareWithProduction(task_id="compare_with_production", handoff=proven))
    run.step(RunApplicationChecks(task_id="run_application_checks", handoff=compared))
    done = run.do(DocumentRestoreTest(task_id="document_result", source="ledger", steps=run.steps))
    run.do(DropScratch(task_id="drop_scratch", handoff=scratch))
    assert (done["passed"], done["remarks"]) == (True, [])
    assert run.left["run_application_checks", FACTS]["checks"][0]["ok"]


def test_recovery_of_rows(ledger: Path) -> None:
    do(ledger, "DELETE FROM entries WHERE id = 2")
    run = Run()
    choose = ChooseRecordsBackup(task_id="choose_backup", source="ledger", repository="primary", **WANTED)
    scratch = run.step(CreateScratch(task_id="create_scratch", handoff=run.step(choose)))
    find = FindRecords(task_id="find_rows", handoff=scratch, **WANTED)
    found = run.step(find)
    answer = run.approve(find)
    write = ImportRecords(task_id="import_rows", handoff=found, approval=answer, **WANTED)
    run.do(write, "pre_execute")  # it asks for the answer
    run.step(write)
    assert run.step(VerifyRecords(task_id="verify_rows", handoff=found, **WANTED)) == {"main.entries": {"equal": 1}}
    run.do(DropScratch(task_id="drop_scratch", handoff=scratch))
    done = run.do(DocumentRecords(task_id="document_result", source="ledger", steps=run.steps))
    assert done["passed"]
    assert done["in_short"] == "Inserted: 1 of main.entries; overwritten: 0."
    assert amounts(ledger) == {1: 5, 2: -9, 3: 4}


def test_recovery_of_the_database_and_the_way_back(ledger: Path) -> None:
    do(ledger, "UPDATE entries SET amount = 0")
    run = Run()
    chosen = run.step(ChooseBackup(task_id="choose_backup", source="ledger", repository="primary"))
    plan = PlanRecovery(task_id="plan_recovery", handoff=chosen)
    run.step(plan)
    answer = run.approve(plan)
    at: dict[str, Any] = {"place": PRODUCTION}
    approved = run.left["approve_plan", CHOSEN]
    scratch = run.step(CreateScratch(task_id="create_scratch", handoff=approved, approval=answer, **at))
    restored = run.step(RestoreScratch(task_id="restore", handoff=scratch, **at))
    proven = run.step(ProveScratch(task_id="prove", handoff=restored, **at))
    run.step(RunApplicationChecks(task_id="run_application_checks", handoff=proven, **at))
    assert set(amounts(ledger).values()) == {0}
    promoted = run.step(PromoteCopy(task_id="promote_copy", handoff=proven, approval=answer))
    assert amounts(ledger) == {1: 5, 2: -9, 3: 4}
    run.step(CollectEvidence(task_id="collect_evidence", handoff=promoted))
    run.do(DropScratch(task_id="drop_scratch", handoff=scratch, **at))
    assert run.do(DocumentRecovery(task_id="document_recovery", source="ledger", steps=run.steps))["passed"]
    back = Run()
    planned = back.step(PlanRollback(task_id="plan_rollback", source="ledger", wanted="newest"))
    back.step(BringBackQuarantine(task_id="bring_back", handoff=planned))
    assert set(amounts(ledger).values()) == {0}


def test_target_of_another_engine_is_refused(config: Path) -> None:
    (config / "targets.yaml").write_text(
        yaml.safe_dump({"targets": {"staging": {"engine": "files", "directory": "/srv"}}})
    )
    with pytest.raises(ConfigError, match="Name a target whose engine is sqlite"):
        sources()


@pytest.mark.parametrize("engine", ["postgres", "mongodb"])
def test_shared_modules_that_an_engine_touches(engine: str) -> None:
    texts = {str(file.relative_to(PLUGINS)): file.read_text() for file in PLUGINS.rglob("*.py")}
    found = {name for name, text in texts.items() if engine in text and names(ast.parse(text), engine)}
    own = {f"connections/{engine}.py", f"config/{engine}.py"}
    assert {name for name in found - own if not name.startswith(f"engines/{engine}/")} == SHARED
    assert len(SHARED) <= 3


def names(module: ast.Module, engine: str) -> bool:
    """Whether code, and not only a docstring, names an engine or one of its modules."""
    said = {node.value for node in ast.walk(module) if isinstance(node, ast.Constant)}
    imported = {node.module or "" for node in ast.walk(module) if isinstance(node, ast.ImportFrom)}
    return engine in said or any(engine in name.split(".") for name in imported)
