"""The graphs of the recoveries, their forms, their approval, and the maintenance mode of a real application."""

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from backup_playbook.config import CommandMaintenance, HttpCall, HttpMaintenance
from backup_playbook.connections.maintenance import MaintenanceError, switch
from backup_playbook.core.errors import ConfigError, RestoreError
from backup_playbook.engines.scratch import Scratch
from backup_playbook.operators.approval import NOBODY, ApprovePlan, approved_by
from backup_playbook.operators.choose import past_moment
from backup_playbook.operators.planning import refuse_a_second_recovery
from backup_playbook.streams.processes import Cancellation
from include.sample.server import ShopServer
from tests.dags.run_of_tasks import named

PUT, DELETE = HttpCall(method="PUT", path="/api/maintenance"), HttpCall(method="DELETE", path="/api/maintenance")
IS_ON = HttpCall(path="/api/maintenance", contains='"maintenance": true')
IS_OFF = HttpCall(path="/api/maintenance", contains='"maintenance": false')
MODE = HttpMaintenance(
    by="http", connection="shop_application", switch_on=PUT, switch_off=DELETE, is_on=IS_ON, is_off=IS_OFF
)
RECOVERIES = ["recover_corrupted_database", "rollback_promotion", "release_quarantine"]


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["recover_corrupted_database"]


def test_graph(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "choose_backup": {"plan_recovery"},
        "plan_recovery": {"approve_plan", "switch_maintenance_off"},
        "approve_plan": {"switch_maintenance_on", "create_scratch", "promote_copy"},
        "switch_maintenance_on": {"create_scratch"},
        "create_scratch": {"restore", "drop_scratch"},
        "restore": {"prove"},
        "prove": {"run_application_checks", "promote_copy", "switch_maintenance_off"},
        "run_application_checks": {"promote_copy"},
        "promote_copy": {"switch_maintenance_off", "collect_evidence"},
        # it takes back what is half exchanged: only then the copy may go
        "switch_maintenance_off": {"document_recovery", "drop_scratch"},
        "collect_evidence": {"document_recovery"},
        "document_recovery": set(),
        "drop_scratch": set(),
    }
    documented: Any = dag.task_dict["document_recovery"]
    assert set(documented.steps.ids) == set(dag.task_ids) - {"document_recovery", "drop_scratch"}


def test_users_are_let_in_and_the_result_is_told_whatever_happened(dag: DAG) -> None:
    for name in ("switch_maintenance_off", "document_recovery"):
        assert dag.task_dict[name].trigger_rule == "all_done"
    drop = dag.task_dict["drop_scratch"]
    assert (drop.is_teardown, drop.on_failure_fail_dagrun) == (True, True)


@pytest.mark.parametrize("dag_id", RECOVERIES)
def test_nothing_happens_before_a_person_has_approved(dag_id: str, dagbag: DagBag) -> None:
    dag = dagbag.dags[dag_id]
    approval = dag.task_dict["approve_plan"]
    assert isinstance(approval, ApprovePlan)
    assert (approval.defaults, approval.ignore_downstream_trigger_rules, approval.retries) == (None, False, 0)
    assert approval.response_timeout
    before = {task.task_id for task in approval.get_flat_relatives(upstream=True)}
    assert before <= {"choose_backup", "plan_recovery", "plan_rollback", "plan_release"}
    after = {task.task_id for task in approval.get_flat_relatives(upstream=False)}
    assert before | after | {"approve_plan"} == set(dag.task_ids)


@pytest.mark.parametrize(
    ("dag_id", "step"), [(RECOVERIES[0], "promote_copy"), (RECOVERIES[1], "bring_back_quarantine")]
)
def test_exchange_whose_worker_died_is_taken_forward_at_once(dag_id: str, step: str, dagbag: DagBag) -> None:
    exchange = dagbag.dags[dag_id].task_dict[step]
    assert exchange.retries
    assert exchange.retry_delay <= timedelta(seconds=5)


@pytest.mark.parametrize("dag_id", RECOVERIES)
def test_runs_manually_only(dag_id: str, dagbag: DagBag) -> None:
    dag = dagbag.dags[dag_id]
    assert (dag.schedule, dag.max_active_runs, bool(dag.deadline)) == (None, 1, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "shopp"),
        ("source", None),
        ("backup", "yesterday"),
        ("repository", "alternate"),
        ("corruption_time", "noon"),
        ("drill", "yes"),
        ("allow_unverified", "yes"),
    ],
)
def test_form_refuses(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


@pytest.mark.parametrize("value", ["shop", "newest; DROP", "shop__quarantine_2026"])
def test_form_refuses_names_that_are_no_quarantine(value: str, dagbag: DagBag) -> None:
    with pytest.raises(ParamValidationError):
        dagbag.dags["release_quarantine"].params.get_param("quarantine").resolve(value)


def test_moments_of_a_form() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert past_moment("", now) is past_moment("None", now) is None
    assert past_moment("2026-11-23T12:30:00+01:00", now) == datetime(2026, 11, 23, 11, 30, tzinfo=UTC)
    assert past_moment("2026-11-23T11:30:00", now) == datetime(2026, 11, 23, 11, 30, tzinfo=UTC)
    with pytest.raises(RestoreError, match="is in the future"):
        past_moment("2026-11-23T12:30:00Z", now)
    with pytest.raises(RestoreError, match="is not a date and time"):
        past_moment("noon", now)


def test_unattended_drills_are_refused_as_shipped() -> None:
    approval = ApprovePlan(task_id="approve_plan", subject="s", plan=named(["plan_recovery"])[0], drill="True")
    with pytest.raises(ConfigError, match="not allowed here"):
        approval.execute({})


def test_who_approved() -> None:
    approved = {"chosen_options": ["Approve"]}
    assert approved_by({**approved, "responded_by_user": {"id": "7", "name": "Ada"}}) == "Ada"
    assert approved_by({**approved, "responded_by_user": None}) == NOBODY
    ada = {"id": "7", "name": "Ada"}
    assert approved_by({"chosen_options": ["Restore X"], "responded_by_user": ada}) == "Ada, who chose: Restore X"


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopServer]:
    """The sample application, and the connection to it; its database is away, which maintenance mode does not need."""
    with ShopServer("host=127.0.0.1 port=1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connection = {"conn_type": "http", "host": "http://127.0.0.1", "port": server.server_port}
        monkeypatch.setenv("AIRFLOW_CONN_SHOP_APPLICATION", json.dumps(connection))
        yield server
        server.shutdown()
        thread.join()


def test_maintenance_mode_by_http(application: ShopServer) -> None:
    for on in (True, True, False, False):
        switch(MODE, on=on, cancellation=Cancellation())
        assert application.maintenance is on


def test_maintenance_mode_that_does_not_take_effect(application: ShopServer) -> None:
    deaf = MODE.model_copy(update={"switch_on": HttpCall(path="/api/maintenance")})
    with pytest.raises(MaintenanceError) as caught:
        switch(deaf, on=True, cancellation=Cancellation())
    assert "answered without '\"maintenance\": true'" in caught.value.what
    assert caught.value.remedy.startswith("Switch it on manually")


def test_application_that_is_healthy_is_asked_for_it(application: ShopServer) -> None:
    """Off, and the shop's database is away: users are not let in unseen."""
    with pytest.raises(MaintenanceError, match="/api/health answered 503 instead of 200"):
        switch(MODE.model_copy(update={"is_off": HttpCall(path="/api/health")}), on=False, cancellation=Cancellation())


def test_application_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "http", "host": "http://127.0.0.1", "port": 1}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_APPLICATION", json.dumps(connection))
    with pytest.raises(MaintenanceError, match="/api/maintenance gave no answer"):
        switch(MODE, on=True, cancellation=Cancellation())


def command(*switch_off: str, **options: Any) -> CommandMaintenance:
    return CommandMaintenance(by="command", switch_on=("true",), switch_off=switch_off, **options)


@pytest.mark.parametrize(
    ("words", "problem"),
    [(("sh", "-c", "echo no way >&2; exit 3"), "no way"), (("sleep", "60"), "not done after 0.2 s")],
)
def test_command_that_fails(words: tuple[str, ...], problem: str) -> None:
    mode = command(*words, timeout=timedelta(seconds=0.2 if words[0] == "sleep" else 10))
    switch(mode, on=True, cancellation=Cancellation())
    with pytest.raises(MaintenanceError, match=problem):
        switch(mode, on=False, cancellation=Cancellation())


class _Runs:
    """A task instance of the run `ours`, in an Airflow with these runs."""

    dag_id = "recover_corrupted_database"

    def __init__(self, states: dict[str, str]) -> None:
        self._states = states

    def get_dagrun_state(self, _dag_id: str, run_id: str) -> str:
        return self._states[run_id]


class _Host:
    """A production server with these scratches."""

    def __init__(self, *owners: tuple[str, str]) -> None:
        self._owners = owners

    def list_scratches(self) -> list[Scratch]:
        return [Scratch(f"scratch_{source}", source, owner=owner) for source, owner in self._owners]


@pytest.mark.parametrize(
    ("source", "owner", "refused"),
    [
        ("shop", "restore_database|theirs|shop", True),
        ("shop", "restore_database|ended|shop", False),
        ("shop", "recover_corrupted_database|ours|shop", False),
        ("other", "restore_database|theirs|other", False),
    ],
)
def test_second_recovery_of_a_source_is_refused(source: str, owner: str, refused: bool) -> None:
    context: Any = {"ti": _Runs({"ours": "running", "theirs": "running", "ended": "failed"}), "run_id": "ours"}
    host: Any = _Host((source, owner))
    with pytest.raises(RestoreError, match="by the run theirs") if refused else contextlib.nullcontext():
        refuse_a_second_recovery(host, "shop", context)
