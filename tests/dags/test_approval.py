"""Approvals that nobody gave, and what their runs leave: nothing live is changed, and a report says so."""

from copy import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped

from backup_playbook.config import load_config
from backup_playbook.connections.s3 import catalog
from backup_playbook.core.model import EvidenceKind
from backup_playbook.forms.files import IN_PLACE
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.operators.approval import ApprovalError
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.production import ChangesProduction
from backup_playbook.operators.recovery import PlanRecovery
from backup_playbook.operators.report import DONE
from backup_playbook.operators.restore import STAGING, CreateScratch
from tests.dags.run_of_tasks import RunOfTasks
from tests.support.backups import said


def test_nothing_live_is_changed_when_the_approval_was_marked_as_successful_manually(dagbag: DagBag) -> None:
    guarded: list[Any] = [
        task for dag in dagbag.dags.values() for task in dag.tasks if isinstance(task, ChangesProduction)
    ]
    context: Any = {"ti": RunOfTasks()}
    for task in guarded:
        assert "approval" in task.template_fields
        step = copy(task)
        step.approval, step.destination = None, IN_PLACE
        if isinstance(step, CreateScratch) and step.place == STAGING:
            step.pre_execute(context)
            continue
        assert task.approval.operator.task_id == "approve_plan"
        with pytest.raises(ApprovalError, match="Nobody has approved this"):
            step.pre_execute(context)
    assert {type(task).__name__ for task in guarded} == {
        "SwitchMaintenanceOn", "CreateScratch", "PromoteCopy", "ImportRecords", "BringBackQuarantine", "DropQuarantine",
        "RestoreFiles",
    }  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What Slack would have got."""
    messages: list[Message] = []
    monkeypatch.setattr(runs, "deliver", messages.append)
    return messages


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["recover_corrupted_database"]


@pytest.fixture
def planned(live: str) -> RunOfTasks:
    """A recovery that waits for its approval."""
    run, primary = RunOfTasks(), catalog(load_config(), "primary")
    [entry] = primary.backups("shop")
    primary.add_evidence("shop", entry.backup_id, said(EvidenceKind.VERIFIED), qualifier="full")
    chosen = run.do(ChooseBackup(task_id="choose_backup", source="shop", repository="primary"))
    run.do(PlanRecovery(task_id="plan_recovery", handoff=chosen))
    return run


def end(run: RunOfTasks, dag: DAG, others: str) -> Any:
    """Run what ends a run, whatever the answer was. others: what became of the steps that were not started."""
    after = {task.task_id for task in dag.task_dict["approve_plan"].get_flat_relatives(upstream=False)}
    run.states |= dict.fromkeys(after - {"switch_maintenance_off", "document_recovery", "drop_scratch"}, others)
    reopening, ending = (copy(dag.task_dict[name]) for name in ("switch_maintenance_off", "document_recovery"))
    arguments = {"given": run.left["plan_recovery", "return_value"], "proven": None, "promoted": None}
    for name, value in arguments.items():
        setattr(reopening, name, value)
    with pytest.raises(AirflowSkipException, match="was not switched on"):
        run.do(reopening)
    ending.source = "shop"
    return run.do(ending)


def report_of(run: RunOfTasks) -> str:
    store = catalog(load_config(), "primary").store
    return store.get(run.left["document_recovery", DONE]["report"].removeprefix(f"{store.url}/")).decode()


def test_rejected_approval_writes_its_report(planned: RunOfTasks, dag: DAG, told: list[Message]) -> None:
    answer = {"chosen_options": ["Reject"], "params_input": {}, "responded_at": datetime.now(UTC)}
    event = answer | {"responded_by_user": {"id": "7", "name": "Ada"}}
    with pytest.raises(DownstreamTasksSkipped):
        planned.do(dag.task_dict["approve_plan"], "execute_complete", event=event)
    skipped = {task for task, state in planned.states.items() if state == "skipped"}
    assert skipped == {"switch_maintenance_on", "create_scratch", "promote_copy"}
    assert end(planned, dag, "skipped")["passed"]
    [message] = told
    assert message.headline == "Recovery of shop was rejected by Ada; nothing was touched"
    assert (message.severity, message.remedy) == ("info", "")
    report = report_of(planned)
    assert report.startswith(f"# {message.headline}\n")
    assert planned.left["plan_recovery", "return_value"]["backup_id"] in report
    assert "approved" not in report


def test_approval_that_has_timed_out_writes_its_report(planned: RunOfTasks, dag: DAG, told: list[Message]) -> None:
    event = {"error": "The response timeout has passed.", "error_type": "timeout"}
    late = "nobody has approved it within 4 h 00 min. Nothing was touched"
    with pytest.raises(ApprovalError, match=late) as caught:
        planned.do(dag.task_dict["approve_plan"], "execute_complete", event=event)
    assert caught.value.remedy.startswith("Start a new run")
    with pytest.raises(AirflowFailException, match=late):
        end(planned, dag, "upstream_failed")
    [message] = told
    assert message.headline == "Recovery of shop failed at approve_plan; production is what it was"
    assert message.severity == "high"
    report = report_of(planned)
    assert late in report
    assert planned.left["plan_recovery", "return_value"]["backup_id"] in report
