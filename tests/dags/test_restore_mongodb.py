"""A full restore of MongoDB: its graph, and its steps on a real server, whose protocol is that of a replica set."""

from itertools import count
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from backup_playbook.config import PlaybookConfig
from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.dag_parts import connections, recovery_ending
from backup_playbook.dag_parts.approval import APPROVE, CHOSEN
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.operators.assessment import RunApplicationChecks
from backup_playbook.operators.backup import DumpCompressUpload, VerifyBackup
from backup_playbook.operators.full_restore import TESTED_ON, TO_PRODUCTION, DocumentRestore, PresentPlan
from backup_playbook.operators.mongodb_restore import CreateNamed, DropUnlessKept, KeepMongoCopy, PlanMongoRestore
from backup_playbook.operators.quarantine import BringBackQuarantine, DropQuarantine, PlanRelease, PlanRollback
from backup_playbook.operators.recovery import (
    CreateCopy,
    DropCopy,
    PromoteCopy,
    ProveCopy,
    RestoreCopy,
    SwitchMaintenanceOff,
    SwitchMaintenanceOn,
)
from backup_playbook.operators.restore import ChooseBackup, ProveRestore, RestoreBackup
from tests.conftest import MongoDatabase
from tests.dags.run_of_tasks import RunOfTasks
from tests.support.mongo_mask import ReplicaSet

GOOD = [{"_id": 1}, {"_id": 2}]
FORM = {"source": "reviews", "target": "production", "database": "", "server": TESTED_ON}


class RestoreRun(RunOfTasks):
    dag_id = "restore_mongodb"


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What Slack would have got."""
    messages: list[Message] = []
    for module in (runs, recovery_ending):
        monkeypatch.setattr(module, "deliver", messages.append)
    return messages


@pytest.fixture
def run(mongo_config: PlaybookConfig, mongo_database: MongoDatabase) -> RestoreRun:
    """After a backup; since then a document is gone, and another one is new."""
    run = RestoreRun()
    taken = run.do(DumpCompressUpload(task_id="dump_compress_upload", source="reviews"))
    assert (
        VerifyBackup(task_id="verify", backup=taken)._verify(connections.catalog(mongo_config, "primary"))["depth"]
        == "full"
    )
    mongo_database["reviews"].delete_one({"_id": 1})
    mongo_database["reviews"].insert_one({"_id": 3})
    return run


def found(database: MongoDatabase, collection: str = "reviews") -> list[Any]:
    return list(database[collection].find(sort=[("_id", 1)]))


def stage(run: RestoreRun, **form: Any) -> Any:
    """The steps before the branch; returns what `prove` does."""
    run.params = {**FORM, **form}
    chosen = run.do(ChooseBackup(task_id="choose_backup", source="reviews", repository="primary"))
    known = run.do(PlanMongoRestore(task_id="plan_restore", backup=chosen))
    for step, operator in (("create_scratch", CreateNamed), ("restore", RestoreBackup), ("prove", ProveRestore)):
        known = run.do(operator(task_id=f"staging.{step}", backup=known))
    run.do(RunApplicationChecks(task_id="staging.run_application_checks", backup=known))
    run.states |= {"branch_on_target": "success", "staging.keep_copy": "skipped"}
    return known


def document(run: RestoreRun) -> Any:
    tested = run.left["choose_backup", "return_value"]
    return run.do(DocumentRestore(task_id="document_restore", source="reviews", tested=tested))


def copy_beside(run: RestoreRun) -> Any:
    """Staging, approval, and the copy in production; returns what `prove` does."""
    known = stage(run)
    run.do(DropUnlessKept(task_id="staging.drop_scratch", backup=known))
    known = run.do(PresentPlan(task_id="present_plan", backup=run.left["plan_restore", "return_value"]))
    run.left["approve_plan", "return_value"] = {
        "chosen_options": [APPROVE], "responded_at": known["planned_at"], "responded_by_user": {"name": "Ada"},
    }  # fmt: skip
    run.left["approve_plan", CHOSEN], run.states["approve_plan"] = known, "success"
    for step, operator in (("create_scratch", CreateCopy), ("restore", RestoreCopy), ("prove", ProveCopy)):
        known = run.do(operator(task_id=step, backup=known))
    run.do(SwitchMaintenanceOn(task_id="switch_maintenance_on", backup=known))
    return known


def end(run: RestoreRun, known: Any) -> None:
    run.do(SwitchMaintenanceOff(task_id="switch_maintenance_off", backup=known))
    run.do(DropCopy(task_id="drop_scratch", backup=known))


def test_graph(dagbag: DagBag) -> None:
    dag = dagbag.dags["restore_mongodb"]
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "choose_backup": {"plan_restore", "document_restore"},
        "plan_restore": {"staging.create_scratch", "present_plan", "switch_maintenance_on", "switch_maintenance_off"},
        "staging.create_scratch": {"staging.restore", "staging.drop_scratch"},
        "staging.restore": {"staging.prove"},
        "staging.prove": {"staging.run_application_checks", "staging.keep_copy"},
        "staging.run_application_checks": {"branch_on_target"},
        "branch_on_target": {"staging.keep_copy", "present_plan"},
        "staging.keep_copy": {"staging.drop_scratch", "document_restore"},
        "staging.drop_scratch": set(),
        "present_plan": {"approve_plan", "create_scratch"},
        "approve_plan": {"create_scratch", "switch_maintenance_on", "promote_copy"},
        "create_scratch": {"restore", "drop_scratch"},
        "restore": {"prove"},
        "prove": {"switch_maintenance_on", "promote_copy"},
        "switch_maintenance_on": {"promote_copy"},
        "promote_copy": {"switch_maintenance_off"},
        # it takes back what is half exchanged: only then the copy may go
        "switch_maintenance_off": {"drop_scratch", "document_restore"},
        "drop_scratch": set(),
        "document_restore": set(),
    }


def test_every_step_is_reported(dagbag: DagBag) -> None:
    dag: DAG = dagbag.dags["restore_mongodb"]
    documented = dag.task_dict["document_restore"]
    assert isinstance(documented, DocumentRestore)
    reported = {documented._path(step) for step in documented.steps} | set(TO_PRODUCTION)
    steps = {task for task in dag.task_ids if not task.endswith("drop_scratch")} - {"document_restore"}
    assert reported - {"run_application_checks"} == steps


def test_new_database_stays(run: RestoreRun, mongo_database: MongoDatabase, told: list[Message]) -> None:
    name = f"{mongo_database.name}_copy"
    known = stage(run, target="new_database", database=name)
    run.do(KeepMongoCopy(task_id="staging.keep_copy", backup=known))
    run.do(KeepMongoCopy(task_id="staging.keep_copy", backup=known))
    run.do(DropUnlessKept(task_id="staging.drop_scratch", backup=known))
    copy = mongo_database.client[name]
    try:
        assert copy.list_collection_names() == ["reviews"]
        assert found(copy) == GOOD
        assert found(mongo_database) == [{"_id": 2}, {"_id": 3}]
        assert document(run)["passed"]
        assert f'db.getSiblingDB("{name}").dropDatabase()' in "\n".join(told[-1].lines)
        with pytest.raises(RestoreError, match=f"There is a database {name} already"):
            stage(RestoreRun(), target="new_database", database=name)
        assert found(copy) == GOOD
    finally:
        mongo_database.client.drop_database(name)


@pytest.mark.parametrize("name", ["admin", "scratch_shop_0123abcd", "Shop", "a b"])
def test_names_that_mean_something_are_refused(name: str, run: RestoreRun) -> None:
    with pytest.raises(RestoreError, match="cannot be the name"):
        stage(run, target="new_database", database=name)


def test_copy_that_was_not_proven_is_dropped(run: RestoreRun, mongo_database: MongoDatabase) -> None:
    known = stage(run, target="staging")
    assert "__restored_" in known["scratch"]
    with pytest.raises(GuardError, match="was not proven"):
        run.do(KeepMongoCopy(task_id="staging.keep_copy", backup={**known, "proof": {}}))
    run.do(DropUnlessKept(task_id="staging.drop_scratch", backup=known))
    assert known["scratch"] not in mongo_database.client.list_database_names()


def test_production_is_replaced_and_brought_back(
    run: RestoreRun, mongo_database: MongoDatabase, told: list[Message], mongo_config: PlaybookConfig
) -> None:
    known = copy_beside(run)
    assert found(mongo_database) == [{"_id": 2}, {"_id": 3}]
    assert "What staging has shown" in run.left["present_plan", "plan"]
    end(run, run.do(PromoteCopy(task_id="promote_copy", backup=known)))
    assert found(mongo_database) == GOOD
    documented = document(run)
    home = connections.catalog(mongo_config, "primary").store
    report = home.get(documented["report"].removeprefix(f"{home.url}/")).decode()
    assert "exchanged within" in report
    assert "approved by Ada" in report
    assert told[-1].headline.startswith("reviews was recovered from")
    [entry] = connections.catalog(mongo_config, "primary").backups("reviews")
    assert entry.proven
    back = run.do(PlanRollback(task_id="plan_rollback", source="reviews", wanted="newest"))
    assert "collections are renamed" in run.left["plan_rollback", "plan"]
    run.do(BringBackQuarantine(task_id="bring_back_quarantine", replaced=back))
    assert found(mongo_database) == [{"_id": 2}, {"_id": 3}]
    assert found(mongo_database, f"{back['next_quarantine']}.reviews") == GOOD
    with pytest.raises(GuardError, match="no backup of reviews that was taken after"):
        run.do(PlanRelease(task_id="plan_release", source="reviews", wanted="newest"))
    run.do(DropQuarantine(task_id="drop_quarantine", replaced={**back, "quarantine": back["next_quarantine"]}))
    assert mongo_database.list_collection_names() == ["reviews"]


def test_killed_exchange_is_taken_back(
    run: RestoreRun, mongo_database: MongoDatabase, replica_set: ReplicaSet, told: list[Message]
) -> None:
    known = copy_beside(run)
    renames = count(1)
    replica_set.refuse = lambda command: (
        (8000, "gone") if next(iter(command)) == "renameCollection" and next(renames) > 1 else None
    )
    with pytest.raises(RestoreError, match="PRODUCTION IS HALF PROMOTED"):
        run.do(PromoteCopy(task_id="promote_copy", backup=known))
    replica_set.refuse = lambda _: None
    assert found(mongo_database) == []
    end(run, known)
    assert mongo_database.list_collection_names() == ["reviews"]
    assert found(mongo_database) == [{"_id": 2}, {"_id": 3}]
    with pytest.raises(AirflowFailException, match="failed at promote_copy; production is what it was"):
        document(run)
    assert told[-1].severity == "high"


def test_a_second_run_waits_for_the_first(run: RestoreRun) -> None:
    known = copy_beside(run)
    second = RestoreRun()
    second.run_id = "another run"
    with pytest.raises(RestoreError, match="is being recovered already, by the run a run of restore_mongodb"):
        stage(second)
    run.do(DropCopy(task_id="drop_scratch", backup=known))


def test_nothing_planned_leaves_nothing(run: RestoreRun) -> None:
    with pytest.raises(AirflowSkipException):
        run.do(SwitchMaintenanceOff(task_id="switch_maintenance_off", backup=None))
