"""The graph of the restore test, when it runs, what its form takes, and where it reads from."""

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval, TimeRestriction

from backup_playbook.config import load_config
from backup_playbook.core.errors import ConfigError
from backup_playbook.dag_parts.restore_targets import reading_order
from backup_playbook.operators.restore import ChooseBackup, CreateScratch, DropScratch, ProveRestore, RestoreBackup
from embedded.postgres import PostgresServer
from tests.dags.conftest import back_up
from tests.dags.run_of_tasks import RunOfTasks


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["monthly_restore_test"]


def test_graph(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "list_sources": {"test.choose_backup", "test.document_result"},
        "test.choose_backup": {"test.create_scratch", "test.document_result"},
        "test.create_scratch": {"test.restore", "test.drop_scratch"},
        "test.restore": {"test.prove"},
        "test.prove": {"test.compare_with_production"},
        "test.compare_with_production": {"test.run_application_checks"},
        "test.run_application_checks": {"test.document_result"},
        "test.document_result": {"test.drop_scratch", "announce_result"},
        "test.drop_scratch": set(),
        "announce_result": set(),
    }


def test_scratch_is_dropped_whatever_happened_and_the_run_is_red_when_it_is_not(dag: DAG) -> None:
    create, drop = dag.task_dict["test.create_scratch"], dag.task_dict["test.drop_scratch"]
    assert (create.is_setup, drop.is_teardown, drop.on_failure_fail_dagrun) == (True, True, True)
    assert dag.task_dict["test.document_result"].trigger_rule == "all_done"
    assert dag.task_dict["announce_result"].trigger_rule == "all_done"


def test_owners_and_grants_are_restored_where_the_target_allows_it(live: str, postgres18: PostgresServer) -> None:
    with postgres18.connect(live) as session:
        session.execute(
            "CREATE ROLE of_notes; ALTER TABLE notes OWNER TO of_notes; GRANT SELECT ON notes TO pg_monitor"
        )
    wanted = back_up(postgres18.dsn(live), datetime.now(UTC)).backup_id
    run = RunOfTasks()
    chosen = run.do(ChooseBackup(task_id="choose_backup", source="shop", backup=wanted, allow_unverified=True))
    made = run.do(CreateScratch(task_id="create_scratch", backup=chosen, try_owners=True))
    try:
        restored = run.do(RestoreBackup(task_id="restore", backup=made))
        proven = run.do(ProveRestore(task_id="prove", backup=restored))
        assert (proven["owners"], proven["owners_lack"]) == (True, "")
        with postgres18.connect(made["scratch"]) as session:
            owner = session.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'notes'").fetchone()
        assert owner == ("of_notes",)
    finally:
        run.do(DropScratch(task_id="drop_scratch", backup=made))
        postgres18.drop_database(live)
        with postgres18.connect() as session:
            session.execute("DROP ROLE of_notes")


@pytest.mark.parametrize(
    ("after", "expected"), [("2026-11-23", "2026-12-07"), ("2026-12-08", "2027-01-04"), ("2027-01-31", "2027-02-01")]
)
def test_runs_on_the_first_monday(dag: DAG, after: str, expected: str) -> None:
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    moment = datetime.fromisoformat(f"{after}T06:00:00+00:00")
    last = DataInterval(moment, moment)
    info = timetable.next_dagrun_info(
        last_automated_data_interval=last, restriction=TimeRestriction(earliest=None, latest=None, catchup=True)
    )
    assert info
    assert info.run_after == datetime.fromisoformat(f"{expected}T06:00:00+00:00")


@pytest.mark.parametrize(
    ("name", "value"),
    [("sources", ["shopp"]), ("sources", []), ("backup", "yesterday"), ("backup", ""), ("repository", "s3")],
)
def test_form_refuses(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


@pytest.mark.parametrize("value", ["latest", "latest_proven", "20261123T020004Z-7f3a91"])
def test_form_takes_backups(dag: DAG, value: str) -> None:
    assert dag.params.get_param("backup").resolve(value) == value


def test_months_alternate_between_the_copies() -> None:
    shop = load_config().source("shop")
    months = [datetime(2026 + month // 12, month % 12 + 1, 7, tzinfo=UTC) for month in range(10, 14)]
    turns = [["primary"], ["offsite"]]
    assert [reading_order(shop, "shop", "alternate", month) for month in months] == [turns, turns[::-1]] * 2
    alone = shop.model_copy(update={"offsite": ()})
    assert [reading_order(alone, "shop", "alternate", month)[0] for month in months] == [["primary"]] * 4


def test_offsite_of_a_source_without_one_is_refused() -> None:
    shop = load_config().source("shop").model_copy(update={"offsite": ()})
    with pytest.raises(ConfigError, match="no off-site repository"):
        reading_order(shop, "shop", "offsite", datetime.now(UTC))
