"""The graph of a full restore: its two ways, and what holds for both."""

from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from backup_playbook.dag_parts import recovery_ending
from backup_playbook.dag_parts.approval import ApprovePlan
from backup_playbook.operators.documentation import DocumentResult
from backup_playbook.operators.full_restore import TO_PRODUCTION, DocumentRestore


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["restore_postgres"]


def after(dag: DAG, task: str) -> set[str]:
    return {found.task_id for found in dag.task_dict[task].get_flat_relatives(upstream=False)}


def test_graph(dag: DAG) -> None:
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
        "prove": {"run_application_checks"},
        "run_application_checks": {"switch_maintenance_on", "promote_copy"},
        "switch_maintenance_on": {"promote_copy"},
        "promote_copy": {"switch_maintenance_off", "drop_scratch"},
        "switch_maintenance_off": {"document_restore"},
        "drop_scratch": set(),
        "document_restore": set(),
    }


@pytest.mark.parametrize(("target", "first"), [("production", "present_plan"), ("staging", "staging.keep_copy")])
def test_ways_part_after_the_checks(target: str, first: str, dag: DAG) -> None:
    branch: Any = dag.task_dict["branch_on_target"]
    assert branch.python_callable(params={"target": target}) == first
    # the checks are skipped where rows were left out on purpose
    assert branch.trigger_rule == "none_failed"
    assert "staging.keep_copy" not in after(dag, "present_plan")
    assert "present_plan" not in after(dag, "staging.keep_copy")


def test_production_is_touched_after_staging_and_approval_only(dag: DAG) -> None:
    approval = dag.task_dict["approve_plan"]
    assert isinstance(approval, ApprovePlan)
    assert (approval.defaults, approval.ignore_downstream_trigger_rules, approval.retries) == (None, True, 0)
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
    assert {documented._path(step) for step in documented.steps} | set(TO_PRODUCTION) == {
        task for task in dag.task_ids if not task.endswith("drop_scratch")
    } - {"document_restore"}
    assert (dag.schedule, dag.max_active_runs, bool(dag.deadline)) == (None, 1, True)


class Instance:
    """Of a run in which this task has failed, and all that do not come after it went well."""

    dag_id, run_id, map_index = "restore_postgres", "ours", -1

    def __init__(self, failed: str, dag: DAG) -> None:
        self._states = dict.fromkeys(dag.task_ids, "success") | dict.fromkeys(after(dag, failed), "upstream_failed")
        self._states |= {"staging.keep_copy": "skipped"} | {failed: "failed"}

    def get_task_states(self, **_: Any) -> dict[str, dict[str, str]]:
        return {"ours": self._states}


@pytest.mark.parametrize(
    ("target", "failed", "recovery"),
    [
        ("production", "promote_copy", True),
        ("production", "present_plan", True),  # that is no restore that went well
        ("production", "staging.prove", False),
        ("staging", "staging.keep_copy", False),
    ],
)
def test_report_is_that_of_the_way_it_went(
    target: str, failed: str, recovery: bool, dag: DAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_ending, "conclude_recovery", lambda _, steps: steps)
    monkeypatch.setattr(DocumentResult, "execute", lambda *_: "the report of a restore")
    context: Any = {"ti": Instance(failed, dag), "params": {"target": target}}
    expected = TO_PRODUCTION if recovery else "the report of a restore"
    assert dag.task_dict["document_restore"].execute(context) == expected


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
