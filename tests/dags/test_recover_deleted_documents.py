"""The graph of the recovery of deleted documents, what its form takes, and its steps on real servers."""

import json
from dataclasses import replace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from backup_playbook.config import PlaybookConfig
from backup_playbook.core.errors import ConfigError, VerificationError
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.dag_parts import connections
from backup_playbook.dag_parts.approval import IN_SHORT, PLAN
from backup_playbook.operators.backup import DumpCompressUpload, VerifyBackup
from backup_playbook.operators.documents import (
    ChooseDocumentsBackup,
    FindDocuments,
    ImportDocuments,
    VerifyDocuments,
)
from backup_playbook.operators.restore import CreateScratch, DropScratch
from tests.conftest import MongoDatabase
from tests.dags.run_of_tasks import RunOfTasks

FORM = {"source": "reviews", "collection": "reviews", "ids": ["2"], "query": "", "on_conflict": "stop"}


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
    assert (approve.defaults, approve.ignore_downstream_trigger_rules, approve.retries) == (None, True, 0)
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


@pytest.fixture
def run(mongo_config: PlaybookConfig) -> RunOfTasks:
    """With a backup that was verified."""
    run = RunOfTasks()
    taken = run.do(DumpCompressUpload(task_id="dump_compress_upload", source="reviews"))
    VerifyBackup(task_id="verify", backup=taken)._verify(connections.catalog(mongo_config, "primary"))
    run.params = dict(FORM)
    return run


def find(run: RunOfTasks) -> Any:
    chosen = run.do(ChooseDocumentsBackup(task_id="choose_backup", source="reviews", repository="primary"))
    run.left["create_scratch", ""] = scratch = run.do(CreateScratch(task_id="create_scratch", backup=chosen))
    return run.do(FindDocuments(task_id="find_documents", backup=scratch))


def drop(run: RunOfTasks) -> None:
    run.do(DropScratch(task_id="drop_scratch", backup=run.left["create_scratch", ""]))


def test_steps(run: RunOfTasks, mongo_config: PlaybookConfig, mongo_database: MongoDatabase) -> None:
    mongo_database["reviews"].delete_one({"_id": 2})
    found = find(run)
    assert "Documents of **reviews**" in run.left["find_documents", PLAN]
    assert run.left["find_documents", IN_SHORT] == "1 document of 1 collection will be inserted, 0 overwritten."
    assert mongo_database["reviews"].count_documents({}) == 1
    imported = run.do(ImportDocuments(task_id="import_documents", backup=found))
    assert run.do(VerifyDocuments(task_id="verify_documents", backup=found)) == {"equal": 1}
    drop(run)
    assert imported["inserted"] == {"reviews": 1}
    assert mongo_database["reviews"].find_one({"_id": 2}) == {"_id": 2}
    home = connections.catalog(mongo_config, "primary").store
    undo = json.loads(home.get(imported["undo"].removeprefix(f"{home.url}/")))
    assert (undo["collection"], len(undo["documents"])) == ("reviews", 1)


def test_conflicts_end_it_before_anybody_is_asked(run: RunOfTasks, mongo_database: MongoDatabase) -> None:
    mongo_database["reviews"].update_one({"_id": 2}, {"$set": {"stars": 1}})
    with pytest.raises(RowRecoveryError, match="key reused: 1 document with other values now"):
        find(run)
    assert ("find_documents", PLAN) not in run.left
    drop(run)


def test_documents_that_vanish_again_are_noticed(run: RunOfTasks, mongo_database: MongoDatabase) -> None:
    mongo_database["reviews"].delete_one({"_id": 2})
    found = find(run)
    with pytest.raises(VerificationError, match=r"missing again: \{'reviews': 1\}"):
        run.do(VerifyDocuments(task_id="verify_documents", backup=found))
    drop(run)


def test_a_collection_that_is_not_there(run: RunOfTasks) -> None:
    run.params["collection"] = "gone"
    with pytest.raises(RowRecoveryError, match="gone is no collection of"):
        find(run)


def test_a_source_that_must_not_be_touched(run: RunOfTasks) -> None:
    step = ChooseDocumentsBackup(task_id="choose_backup", source="reviews")
    settings = step.config.sources["reviews"].model_copy(update={"recovery": None})
    step.config = replace(step.config, sources={"reviews": settings})
    with pytest.raises(ConfigError, match="its production database is not to be touched"):
        run.do(step)
