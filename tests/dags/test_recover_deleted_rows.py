"""The graph of the recovery of deleted rows, and what its form takes."""

from copy import copy
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from backup_playbook.engines.record_recovery import WantedRecords
from backup_playbook.operators.records import WANTED


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["recover_deleted_rows"]


def test_graph(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "choose_backup": {"create_scratch"},
        "create_scratch": {"find_rows", "drop_scratch"},
        "find_rows": {"approve_plan", "import_rows", "verify_rows"},
        "approve_plan": {"import_rows"},
        "import_rows": {"verify_rows"},
        "verify_rows": {"document_result", "drop_scratch"},
        "document_result": set(),
        "drop_scratch": set(),
    }


def test_scratch_is_dropped_whatever_happened(dag: DAG) -> None:
    create, drop = dag.task_dict["create_scratch"], dag.task_dict["drop_scratch"]
    assert (create.is_setup, drop.is_teardown, drop.on_failure_fail_dagrun) == (True, True, True)


def test_nothing_is_done_without_approval(dag: DAG) -> None:
    approve = dag.task_dict["approve_plan"]
    assert (approve.defaults, approve.ignore_downstream_trigger_rules, approve.retries) == (None, False, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "shopp"), ("table", ""), ("keys", "7"), ("keys", [7]), ("keys", [""]), ("deleted_at", "yesterday"),
        ("backup", "newest"), ("repository", "alternate"), ("children", "all"), ("on_conflict", "ask"),
        ("triggers", "on"), ("drill", "yes"),
    ],
)  # fmt: skip
def test_form_refuses(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


def test_form_is_careful_when_left_as_it_is(dag: DAG) -> None:
    values = {name: dag.params[name] for name in ("on_conflict", "triggers", "drill", "children", "deleted_at")}
    assert values == {
        "on_conflict": "stop", "triggers": "off", "drill": False, "children": "restore", "deleted_at": None,
    }  # fmt: skip


def test_steps_are_told_what_the_form_says(dag: DAG) -> None:
    form = {"table": "users", "keys": ['["a<", "1"]', "{{ 7 }}"], "where": None, "children": "skip", "triggers": "fire"}
    for task_id in ("choose_backup", "find_rows", "import_rows", "verify_rows"):
        step: Any = copy(dag.task_dict[task_id])
        for field in WANTED:
            setattr(step, field, step.render_template(getattr(step, field), {"params": form | {"on_conflict": "skip"}}))
        assert step.wanted == WantedRecords("users", ('["a<", "1"]', "{{ 7 }}"), "", False, True)
        assert step.on_conflict == "skip"
