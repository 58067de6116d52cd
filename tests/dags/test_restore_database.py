"""The restore of a database: its graph, its two ways, and its steps on a real MongoDB server.

That server speaks the protocol of a replica set. The same steps on Postgres are in the end-to-end tests.
"""

from itertools import count
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, ParamValidationError

from backup_playbook.config import PlaybookConfig
from backup_playbook.connections.s3 import catalog
from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.forms.restore import TESTED_ON
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.operators import recovery
from backup_playbook.operators.approval import CHOSEN, ApprovePlan
from backup_playbook.operators.backup import DumpCompressUpload, VerifyBackup
from backup_playbook.operators.checks import RunApplicationChecks
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.full_restore import PlanRestore, PresentPlan
from backup_playbook.operators.handoffs import HandoffError
from backup_playbook.operators.quarantine import BringBackQuarantine, DropQuarantine, PlanRelease, PlanRollback
from backup_playbook.operators.recovery import PromoteCopy, SwitchMaintenanceOff, SwitchMaintenanceOn
from backup_playbook.operators.restore import (
    PRODUCTION,
    STAGING,
    CreateScratch,
    DropScratch,
    KeepCopy,
    ProveScratch,
    RestoreScratch,
)
from backup_playbook.operators.restore_report import DocumentRestore
from tests.conftest import MongoDatabase
from tests.dags.run_of_tasks import RunOfTasks, named
from tests.support.mongo_mask import ReplicaSet

GOOD = [{"_id": 1}, {"_id": 2}]
FORM = {"target": "production", "database": "", "server": TESTED_ON}
STEPS = (
    "choose_backup", "plan_restore", "staging.create_scratch", "staging.restore", "staging.prove",
    "staging.run_application_checks", "branch_on_target", "staging.keep_copy", "present_plan", "approve_plan",
    "create_scratch", "restore", "prove", "switch_maintenance_on", "promote_copy", "switch_maintenance_off",
)  # fmt: skip
CARRIERS = {*STEPS} - {"branch_on_target", "staging.keep_copy", "approve_plan", "switch_maintenance_on",
                       "switch_maintenance_off"}  # fmt: skip


class RestoreRun(RunOfTasks):
    dag_id = "restore_database"


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["restore_database"]


def after(dag: DAG, task: str) -> set[str]:
    return {found.task_id for found in dag.task_dict[task].get_flat_relatives(upstream=False)}


def test_graph(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "choose_backup": {"plan_restore"},
        "plan_restore": {"staging.create_scratch", "present_plan", "switch_maintenance_off"},
        "staging.create_scratch": {"staging.restore", "staging.drop_scratch"},
        "staging.restore": {"staging.prove"},
        "staging.prove": {"staging.run_application_checks", "staging.keep_copy", "present_plan"},
        "staging.run_application_checks": {"branch_on_target"},
        "branch_on_target": {"staging.keep_copy", "present_plan"},
        "staging.keep_copy": {"staging.drop_scratch", "document_restore"},
        "staging.drop_scratch": set(),
        "present_plan": {"approve_plan"},
        "approve_plan": {"create_scratch", "switch_maintenance_on", "promote_copy"},
        "create_scratch": {"restore", "drop_scratch"},
        "restore": {"prove"},
        "prove": {"run_application_checks", "promote_copy", "switch_maintenance_off"},
        "run_application_checks": {"switch_maintenance_on"},
        "switch_maintenance_on": {"promote_copy"},
        "promote_copy": {"switch_maintenance_off", "document_restore"},
        # it takes back what is half exchanged: only then the copy may go
        "switch_maintenance_off": {"drop_scratch", "document_restore"},
        "drop_scratch": set(),
        "document_restore": set(),
    }


@pytest.mark.parametrize(("target", "first"), [("production", "present_plan"), ("staging", "staging.keep_copy")])
def test_ways_part_after_the_checks(target: str, first: str, dag: DAG) -> None:
    branch: Any = dag.task_dict["branch_on_target"]
    branch.target = target
    assert branch.choose_branch({}) == first
    # the checks are skipped where rows were left out on purpose
    assert branch.trigger_rule == "none_failed"
    assert "staging.keep_copy" not in after(dag, "present_plan")
    assert "present_plan" not in after(dag, "staging.keep_copy")


def test_production_is_touched_after_staging_and_approval_only(dag: DAG) -> None:
    approval = dag.task_dict["approve_plan"]
    assert isinstance(approval, ApprovePlan)
    assert (approval.defaults, approval.ignore_downstream_trigger_rules, approval.retries) == (None, False, 0)
    before = {task.task_id for task in approval.get_flat_relatives(upstream=True)}
    assert {"staging.prove", "staging.run_application_checks", "present_plan"} <= before
    assert {"create_scratch", "promote_copy", "switch_maintenance_on"} <= after(dag, "approve_plan")


@pytest.mark.parametrize("name", ["drop_scratch", "staging.drop_scratch"])
def test_scratches_are_removed_whatever_happened(name: str, dag: DAG) -> None:
    drop = dag.task_dict[name]
    assert (drop.is_teardown, drop.on_failure_fail_dagrun) == (True, True)


def test_end_is_told_whatever_happened(dag: DAG) -> None:
    documented = dag.task_dict["document_restore"]
    assert isinstance(documented, DocumentRestore)
    assert documented.trigger_rule == "all_done"
    steps = {task for task in dag.task_ids if not task.endswith("drop_scratch")} - {"document_restore"}
    assert set(documented.steps.ids) == steps
    assert (dag.schedule, dag.max_active_runs, bool(dag.deadline)) == (None, 1, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "shopp"),
        ("backup", "yesterday"),
        ("before", "noon"),
        ("repository", "alternate"),
        ("target", "prod"),
        ("database", "Shop"),
        ("database", "a;b"),
        ("database", "x" * 64),
        ("server", "production"),
        ("only", "public.users"),
        ("only", [""]),
        ("drill", "yes"),
    ],
)
def test_form_refuses(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What Slack would have got."""
    messages: list[Message] = []
    for module in (runs, recovery):
        monkeypatch.setattr(module, "deliver", messages.append)
    return messages


@pytest.fixture
def run(mongo_config: PlaybookConfig, mongo_database: MongoDatabase) -> RestoreRun:
    """After a backup; since then a document is gone, and another one is new."""
    run = RestoreRun()
    taken = run.do(DumpCompressUpload(task_id="dump_compress_upload", source="reviews"))
    assert VerifyBackup(task_id="verify", handoff=taken)._verify(catalog(mongo_config, "primary")).depth == "full"
    mongo_database["reviews"].delete_one({"_id": 1})
    mongo_database["reviews"].insert_one({"_id": 3})
    return run


def found(database: MongoDatabase, collection: str = "reviews") -> list[Any]:
    return list(database[collection].find(sort=[("_id", 1)]))


def stage(run: RestoreRun, **form: Any) -> Any:
    """The steps before the branch; returns what `prove` does."""
    chosen = run.do(ChooseBackup(task_id="choose_backup", source="reviews", repository="primary"))
    known = run.do(PlanRestore(task_id="plan_restore", handoff=chosen, **{**FORM, **form}))
    for step, operator in (("create_scratch", CreateScratch), ("restore", RestoreScratch), ("prove", ProveScratch)):
        known = run.do(operator(task_id=f"staging.{step}", handoff=known, place=STAGING))
    run.do(RunApplicationChecks(task_id="staging.run_application_checks", handoff=known, place=STAGING))
    run.states |= {"branch_on_target": "success", "staging.keep_copy": "skipped"}
    return known


def document(run: RestoreRun) -> Any:
    return run.do(DocumentRestore(task_id="document_restore", source="reviews", steps=named(STEPS, CARRIERS)))


def drop(run: RestoreRun, known: Any, place: Any) -> None:
    name = "drop_scratch" if place == PRODUCTION else "staging.drop_scratch"
    run.do(DropScratch(task_id=name, handoff=known, place=place))


def copy_beside(run: RestoreRun) -> Any:
    """Staging, approval, and the copy in production; returns what `prove` does."""
    known = stage(run)
    drop(run, known, STAGING)
    [planned, checked] = named(["plan_restore", "staging.run_application_checks"])
    given = run.left["plan_restore", "return_value"]
    known = run.do(PresentPlan(task_id="present_plan", handoff=given, planned=planned, staged=known, checked=checked))
    run.left["approve_plan", CHOSEN], run.states["approve_plan"] = known, "success"
    run.left["approve_plan", "facts"] = {
        "approved_by": "Ada", "approved_at": known["replacing"]["planned_at"], "handoff": known
    }  # fmt: skip
    for step, operator in (("create_scratch", CreateScratch), ("restore", RestoreScratch), ("prove", ProveScratch)):
        known = run.do(operator(task_id=step, handoff=known, place=PRODUCTION))
    with pytest.raises(AirflowSkipException, match="No application can be sent"):
        run.do(RunApplicationChecks(task_id="run_application_checks", handoff=known, place=PRODUCTION))
    run.do(SwitchMaintenanceOn(task_id="switch_maintenance_on", handoff=known))
    return known


def end(run: RestoreRun, known: Any, promoted: Any = None) -> None:
    [switched] = named(["switch_maintenance_on"])
    arguments = {"handoff": known, "switched_on": switched, "proven": known, "promoted": promoted}
    run.do(SwitchMaintenanceOff(task_id="switch_maintenance_off", **arguments))
    drop(run, known, PRODUCTION)


def test_new_database_stays(run: RestoreRun, mongo_database: MongoDatabase, told: list[Message]) -> None:
    name = f"{mongo_database.name}_copy"
    known = stage(run, target="new_database", database=name)
    run.do(KeepCopy(task_id="staging.keep_copy", handoff=known))
    run.do(KeepCopy(task_id="staging.keep_copy", handoff=known))
    drop(run, known, STAGING)
    copy = mongo_database.client[name]
    try:
        assert copy.list_collection_names() == ["reviews"]
        assert found(copy) == GOOD
        assert found(mongo_database) == [{"_id": 2}, {"_id": 3}]
        run.states = dict.fromkeys(STEPS, "skipped") | run.states | {"staging.keep_copy": "success"}
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
        run.do(KeepCopy(task_id="staging.keep_copy", handoff={**known, "proof": None}))
    drop(run, known, STAGING)
    assert known["scratch"] not in mongo_database.client.list_database_names()


def test_production_is_replaced_and_brought_back(
    run: RestoreRun, mongo_database: MongoDatabase, told: list[Message], mongo_config: PlaybookConfig
) -> None:
    known = copy_beside(run)
    assert found(mongo_database) == [{"_id": 2}, {"_id": 3}]
    assert "What staging has shown" in run.left["present_plan", "plan"]
    end(run, known, run.do(PromoteCopy(task_id="promote_copy", handoff=known)))
    assert found(mongo_database) == GOOD
    documented = document(run)
    home = catalog(mongo_config, "primary").store
    report = home.get(documented["report"].removeprefix(f"{home.url}/")).decode()
    assert "were exchanged within" in report
    assert "approved by Ada" in report
    assert told[-1].headline.startswith("reviews was recovered from")
    [entry] = catalog(mongo_config, "primary").backups("reviews")
    assert entry.proven
    back = run.do(PlanRollback(task_id="plan_rollback", source="reviews", wanted="newest"))
    assert "collections are renamed" in run.left["plan_rollback", "plan"]
    run.do(BringBackQuarantine(task_id="bring_back_quarantine", handoff=back))
    assert found(mongo_database) == [{"_id": 2}, {"_id": 3}]
    assert found(mongo_database, f"{back['next_quarantine']}.reviews") == GOOD
    with pytest.raises(GuardError, match="no backup of reviews that was taken after"):
        run.do(PlanRelease(task_id="plan_release", source="reviews", wanted="newest"))
    run.do(DropQuarantine(task_id="drop_quarantine", handoff={**back, "quarantine": back["next_quarantine"]}))
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
        run.do(PromoteCopy(task_id="promote_copy", handoff=known))
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
    with pytest.raises(RestoreError, match="is being recovered already, by the run a run of restore_database"):
        stage(second)
    drop(run, known, PRODUCTION)


def test_nothing_planned_leaves_nothing(run: RestoreRun) -> None:
    [switched] = named(["switch_maintenance_on"])
    arguments: Any = {"handoff": None, "switched_on": switched, "proven": None, "promoted": None}
    with pytest.raises(AirflowSkipException):
        run.do(SwitchMaintenanceOff(task_id="switch_maintenance_off", **arguments))


def test_a_run_that_was_begun_before_an_upgrade_cannot_go_on(run: RestoreRun) -> None:
    known = {**stage(run), "live_oid": 7}
    with pytest.raises(HandoffError, match=r"another version of the playbook: live_oid .* cannot be read"):
        run.do(KeepCopy(task_id="staging.keep_copy", handoff=known))
    drop(run, {name: value for name, value in known.items() if name != "live_oid"}, STAGING)
