"""The graph of the recovery of deleted documents, what its form takes, and its steps on real servers."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from backup_playbook.config import PlaybookConfig
from backup_playbook.connections.registry import access
from backup_playbook.core.errors import ConfigError, VerificationError
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.operators.approval import IN_SHORT, PLAN, ApprovePlan
from backup_playbook.operators.backup import DumpCompressUpload, VerifyBackup
from backup_playbook.operators.records import (
    ChooseRecordsBackup,
    DocumentRecords,
    FindRecords,
    ImportRecords,
    VerifyRecords,
)
from backup_playbook.operators.report import FACTS
from backup_playbook.operators.restore import CreateScratch, DropScratch
from tests.conftest import MongoDatabase
from tests.dags.run_of_tasks import RunOfTasks

WANTED = {"table": "reviews", "keys": ["2"]}


class RecoveryRun(RunOfTasks):
    """A run whose ending knows the steps that were done."""

    dag_id = "recover_deleted_documents"

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[BaseOperator] = []

    def step(self, operator: BaseOperator) -> Any:
        self.steps.append(operator)
        return self.do(operator)

    def find(self, **wanted: Any) -> Any:
        wanted = WANTED | wanted
        choice = ChooseRecordsBackup(task_id="choose_backup", source="reviews", repository="primary", **wanted)
        self.scratch = self.step(CreateScratch(task_id="create_scratch", handoff=self.step(choice)))
        return self.step(FindRecords(task_id="find_documents", handoff=self.scratch, **wanted))

    def approve(self, **facts: str) -> None:
        approve = ApprovePlan(task_id="approve_plan", subject="Recovery", plan=self.steps[-1], drill=False)
        self.steps.append(approve)
        self.states["approve_plan"] = "success"
        self.left["approve_plan", FACTS] = facts

    def drop(self) -> None:
        self.do(DropScratch(task_id="drop_scratch", handoff=self.scratch))

    def document(self) -> dict[str, Any]:
        ending = DocumentRecords(task_id="document_result", source="reviews", steps=self.steps)
        return dict(self.do(ending))


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["recover_deleted_documents"]


def test_graph(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "choose_backup": {"create_scratch"},
        "create_scratch": {"find_documents", "drop_scratch"},
        "find_documents": {"approve_plan", "import_documents", "verify_documents"},
        "approve_plan": {"import_documents"},
        "import_documents": {"verify_documents"},
        "verify_documents": {"document_result", "drop_scratch"},
        "document_result": set(),
        "drop_scratch": set(),
    }


def test_nothing_is_done_without_approval_and_the_scratch_goes(dag: DAG) -> None:
    approve, drop = dag.task_dict["approve_plan"], dag.task_dict["drop_scratch"]
    assert (approve.defaults, approve.ignore_downstream_trigger_rules, approve.retries) == (None, False, 0)
    assert (drop.is_teardown, drop.on_failure_fail_dagrun) == (True, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("collection", ""), ("ids", "7"), ("ids", [7]), ("ids", [""]), ("query", 7), ("deleted_at", "yesterday"),
        ("backup", "newest"), ("repository", "alternate"), ("on_conflict", "ask"), ("drill", "yes"),
    ],
)  # fmt: skip
def test_form_refuses(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What Slack would have got."""
    messages: list[Message] = []
    monkeypatch.setattr(runs, "deliver", messages.append)
    return messages


@pytest.fixture
def run(mongo_config: PlaybookConfig) -> RecoveryRun:
    """A run after a backup that was verified."""
    run = RecoveryRun()
    taken = run.do(DumpCompressUpload(task_id="dump_compress_upload", source="reviews"))
    VerifyBackup(task_id="verify", handoff=taken)._verify(access(mongo_config, "reviews").catalog())
    return run


def stored(config: PlaybookConfig, address: str) -> bytes:
    home = access(config, "reviews").catalog().store
    return home.get(address.removeprefix(f"{home.url}/"))


def test_steps(
    run: RecoveryRun, mongo_config: PlaybookConfig, mongo_database: MongoDatabase, told: list[Message]
) -> None:
    mongo_database["reviews"].delete_one({"_id": 2})
    found = run.find()
    assert "Documents of **reviews**" in run.left["find_documents", PLAN]
    assert run.left["find_documents", IN_SHORT] == "1 document of 1 collection will be inserted, 0 overwritten."
    assert mongo_database["reviews"].count_documents({}) == 1
    run.approve(approved_by="Ada", approved_at=datetime.now(UTC).isoformat())
    imported = run.step(ImportRecords(task_id="import_documents", handoff=found, **WANTED))
    verified = run.step(VerifyRecords(task_id="verify_documents", handoff=found, **WANTED))
    assert verified == {"reviews": {"equal": 1}}
    run.drop()
    done = run.document()
    assert imported["inserted"] == {"reviews": 1}
    assert mongo_database["reviews"].find_one({"_id": 2}) == {"_id": 2}
    undo = json.loads(stored(mongo_config, imported["undo"]))
    assert (undo["collection"], len(undo["documents"])) == ("reviews", 1)
    [message] = told
    assert message.headline == "Back in reviews: 1 document"
    assert f"To undo: fetch {imported['undo']} and run it in production" in message.text()
    report = json.loads(stored(mongo_config, done["report"].removesuffix("md") + "json"))
    assert (report["kind"], report["approved_by"], report["details"]["verified"]) == ("documents", "Ada", verified)
    assert report["details"]["wanted"]["keys"] == "***"
    assert b"| reviews | 1 | 0 | 0 | 0 |" in stored(mongo_config, done["report"])


def test_rejected_recovery_has_a_report(
    run: RecoveryRun, mongo_config: PlaybookConfig, mongo_database: MongoDatabase, told: list[Message]
) -> None:
    mongo_database["reviews"].delete_one({"_id": 2})
    found = run.find()
    run.approve(rejected_by="Ada")
    run.steps += [
        ImportRecords(task_id="import_documents", handoff=found, **WANTED),
        VerifyRecords(task_id="verify_documents", handoff=found, **WANTED),
    ]
    run.states |= {"import_documents": "skipped", "verify_documents": "skipped"}
    run.drop()
    done = run.document()
    [message] = told
    assert message.headline == "Recovery of documents of reviews was rejected by Ada; nothing was touched"
    assert (message.severity, "To undo" in message.text()) == ("info", False)
    assert message.headline.encode() in stored(mongo_config, done["report"])


def test_conflicts_end_it_before_anybody_is_asked(
    run: RecoveryRun, mongo_database: MongoDatabase, told: list[Message]
) -> None:
    mongo_database["reviews"].update_one({"_id": 2}, {"$set": {"stars": 1}})
    with pytest.raises(RowRecoveryError, match="key reused: 1 document with other values now"):
        run.find()
    assert ("find_documents", PLAN) not in run.left
    run.drop()
    with pytest.raises(AirflowFailException, match="Recovery of documents of reviews failed at find_documents"):
        run.document()
    [message] = told
    assert "Nothing was written to production." in message.text()


def test_documents_that_vanish_again_are_noticed(run: RecoveryRun, mongo_database: MongoDatabase) -> None:
    mongo_database["reviews"].delete_one({"_id": 2})
    found = run.find()
    with pytest.raises(VerificationError, match=r"missing again: \{'reviews': 1\}"):
        run.do(VerifyRecords(task_id="verify_documents", handoff=found, **WANTED))
    run.drop()


def test_a_collection_that_is_not_there(run: RecoveryRun) -> None:
    with pytest.raises(RowRecoveryError, match="gone is no collection of"):
        run.find(table="gone")
    with pytest.raises(AirflowFailException, match="failed at choose_backup"):
        run.document()


def test_a_source_that_must_not_be_touched(run: RecoveryRun) -> None:
    step = ChooseRecordsBackup(task_id="choose_backup", source="reviews", **WANTED)
    settings = step.config.sources["reviews"].model_copy(update={"recovery": None})
    step.config = replace(step.config, sources={"reviews": settings})
    with pytest.raises(ConfigError, match="its production database is not to be touched"):
        run.do(step)
