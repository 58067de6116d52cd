"""The graph of the restore test, when it runs, what its form takes, and where it reads from."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval, TimeRestriction

from backup_playbook.config import load_config
from backup_playbook.connections.postgres import PostgresAccess
from backup_playbook.connections.s3 import catalog
from backup_playbook.core.errors import ConfigError
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.restore import CreateScratch, DropScratch, ProveScratch, RestoreScratch
from backup_playbook.operators.restore_report import DocumentRestoreTest
from backup_playbook.operators.restore_test import AnnounceRestoreTests
from embedded.postgres import PostgresServer
from tests.dags.conftest import back_up
from tests.dags.run_of_tasks import RunOfTasks, named

STEPS = ("choose_backup", "create_scratch", "restore", "prove", "compare_with_production", "run_application_checks")


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["monthly_restore_test"]


def test_graph(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "list_sources": {"test.choose_backup", "test.document_result", "announce_result"},
        "test.choose_backup": {"test.create_scratch"},
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
    assert dag.task_dict["test.document_result"].steps.ids == tuple(f"test.{step}" for step in STEPS)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    messages: list[Message] = []
    monkeypatch.setattr(runs, "deliver", messages.append)
    return messages


def choose(run: RunOfTasks, backup: str) -> Any:
    return run.do(ChooseBackup(task_id="choose_backup", source="shop", backup=backup, allow_unverified=True))


def document(run: RunOfTasks, steps: Sequence[str]) -> str:
    """Report of a run, for people."""
    done = run.do(DocumentRestoreTest(task_id="document_result", source="shop", steps=named(steps, steps)))
    store = catalog(load_config(), "primary").store
    return store.get(done["report"].removeprefix(f"{store.url}/")).decode()


def announce(run: RunOfTasks, *sources: str) -> Any:
    [documented] = named(["document_result"])
    return run.do(AnnounceRestoreTests(task_id="announce_result", sources=sources, tests=documented))


def test_owners_and_grants_are_restored_where_the_target_allows_it(
    live: str, postgres18: PostgresServer, told: list[Message]
) -> None:
    with postgres18.connect(live) as session:
        session.execute(
            "CREATE ROLE of_notes; ALTER TABLE notes OWNER TO of_notes; GRANT SELECT ON notes TO pg_monitor"
        )
    wanted = back_up(postgres18.dsn(live), datetime.now(UTC)).backup_id
    run = RunOfTasks()
    chosen = choose(run, wanted)
    made = run.do(CreateScratch(task_id="create_scratch", handoff=chosen, try_owners=True))
    try:
        restored = run.do(RestoreScratch(task_id="restore", handoff=made))
        proven = run.do(ProveScratch(task_id="prove", handoff=restored))
        assert (proven["owners"], proven["owners_lack"]) == (True, "")
        with postgres18.connect(made["scratch"]) as session:
            owner = session.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'notes'").fetchone()
        assert owner == ("of_notes",)
        assert ", with owners and grants" in document(run, STEPS[:4])
        assert [test["passed"] for test in announce(run, "shop")] == [True]
        assert told[-1].headline == "shop was restored and proven equal"
    finally:
        run.do(DropScratch(task_id="drop_scratch", handoff=made))
        postgres18.drop_database(live)
        with postgres18.connect() as session:
            session.execute("DROP ROLE of_notes")


def test_failed_test_writes_its_report_and_fails_the_run(live: str, told: list[Message]) -> None:
    """A check fails: the report says which, the copy counts as not proven, and people hear of it once."""
    run = RunOfTasks()
    chosen = choose(run, catalog(load_config(), "primary").backups("shop")[0].backup_id)
    run.states |= dict.fromkeys(STEPS[1:], "success") | {STEPS[-1]: "failed"}
    run.left[STEPS[-1], "error"] = "1 of 3 application checks failed on the restored copy."
    with pytest.raises(AirflowFailException, match="FAILED at run_application_checks"):
        document(run, STEPS)
    assert told == [], "of many tests, people are told at once"
    with pytest.raises(AirflowFailException, match="Restore test failed for shop: that this can be restored is not"):
        announce(run, "shop")
    [message] = told
    assert message.severity == "high"
    assert f"`run_application_checks` failed for {chosen['backup_id']} from primary. 1 of 3" in message.lines[0]
    assert "Report: s3://" in message.lines[0]


def test_tests_that_left_nothing_are_no_success(told: list[Message]) -> None:
    with pytest.raises(AirflowFailException, match="The restore test of crm has no result"):
        announce(RunOfTasks(), "crm")
    with pytest.raises(AirflowFailException, match="No restore was tested"):
        announce(RunOfTasks())
    assert [message.severity for message in told] == ["high", "high"]


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


def access(*offsite: str) -> PostgresAccess:
    found = PostgresAccess(load_config(), "shop")
    found.settings = found.settings.model_copy(update={"offsite": offsite})
    found.backups.names = ["primary", *offsite]
    return found


def test_months_alternate_between_the_copies() -> None:
    months = [datetime(2026 + month // 12, month % 12 + 1, 7, tzinfo=UTC) for month in range(10, 14)]
    turns = [["primary"], ["offsite"]]
    shop, alone = access("offsite"), access()
    assert [shop.reading_order("alternate", month) for month in months] == [turns, turns[::-1]] * 2
    assert [alone.reading_order("alternate", month)[0] for month in months] == [["primary"]] * 4


def test_offsite_of_a_source_without_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="no off-site repository"):
        access().reading_order("offsite", datetime.now(UTC))
