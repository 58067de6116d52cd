"""The graph of the nightly backup, when it runs, and what its form takes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction

from backup_playbook.core.errors import ConfigError
from backup_playbook.operators.announcement import ListSources
from backup_playbook.operators.base import is_true, text, texts


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["nightly_database_backup"]


def test_graph(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "list_sources": {"protect.dump_compress_upload", "prune"},
        "protect.dump_compress_upload": {"protect.verify"},
        "protect.verify": {"protect.copy_offsite"},
        "protect.copy_offsite": {"protect.verify_offsite"},
        "protect.verify_offsite": {"prune"},
        "prune": {"announce_result"},
        "announce_result": set(),
    }


def test_prune_and_announce_run_whatever_happened(dag: DAG) -> None:
    rules = {task.task_id: task.trigger_rule for task in dag.tasks}
    after_failures = [task_id for task_id, rule in rules.items() if rule == "all_done"]
    assert after_failures == ["prune", "announce_result"]
    assert {rule for task_id, rule in rules.items() if task_id not in after_failures} == {"all_success"}


def test_steps_are_tried_twice_and_what_cannot_change_once(dag: DAG) -> None:
    retries = {task.task_id: task.retries for task in dag.tasks}
    once = {"list_sources", "announce_result"}
    assert {task_id for task_id, count in retries.items() if count == 0} == once
    assert {count for task_id, count in retries.items() if task_id not in once} == {1}


def test_announcement_looks_at_every_step(dag: DAG) -> None:
    stages = dag.task_dict["announce_result"].stages
    found = [(stage.task_id, stage.means, stage.only_offsite, stage.unsafe) for stage in stages]
    assert found == [
        ("protect.dump_compress_upload", "there is no new backup", False, True),
        ("protect.verify", "the new backup is not verified", False, True),
        ("protect.copy_offsite", "there is no off-site copy", True, True),
        ("protect.verify_offsite", "the off-site copy is not verified", True, True),
        ("prune", "old backups were not removed", False, False),
    ]


def next_run(dag: DAG, last: datetime | None) -> datetime:
    """When the scheduler would start the next run. last: of the last scheduled run."""
    moment = pendulum.instance(last) if last else None
    info: DagRunInfo | None = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval(moment, moment) if moment else None,
        restriction=TimeRestriction(earliest=dag.start_date, latest=None, catchup=dag.catchup),
    )
    assert info
    return info.run_after


def test_first_run_waits_for_two_o_clock(dag: DAG) -> None:
    """Unpausing starts no backup in the middle of the day."""
    first = next_run(dag, None)
    assert first > datetime.now(UTC)
    assert (first.hour, first.minute) == (2, 0)


def test_night_missed_by_the_scheduler_is_made_up_for_once(dag: DAG) -> None:
    """After days without a scheduler: one run at once, for the last two o'clock, not one for each night."""
    now = datetime.now(UTC)
    two_o_clock = now.replace(hour=2, minute=0, second=0, microsecond=0)
    last_two_o_clock = two_o_clock if two_o_clock <= now else two_o_clock - timedelta(days=1)
    made_up = next_run(dag, last_two_o_clock - timedelta(days=5))
    assert made_up == last_two_o_clock
    assert next_run(dag, made_up) == last_two_o_clock + timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("sources", ["shopp"]), ("sources", []), ("sources", ["shop", "shop"]), ("hold", "yes"), ("reason", "x" * 501)],
)
def test_form_refuses(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


def test_first_task_refuses_a_source_that_left_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"no source 'shopp'.*\n.*shop"):
        ListSources(task_id="list_sources", sources='["shop", "shopp"]').execute({})


def test_booleans_of_templates() -> None:
    assert [is_true(value) for value in (True, "True", False, "False")] == [True, True, False, False]
    for value in ("", "yes", "None", "{{ params.hold }}"):
        with pytest.raises(ValueError, match="Expected True or False"):
            is_true(value)


def test_lists_and_texts_of_templates() -> None:
    for value in ('["007", "[x]"]', ["007", "[x]"], ("007", "[x]")):
        assert texts(value) == ("007", "[x]")
    assert texts("null") == texts(None) == texts("[]") == ()
    with pytest.raises(ValueError, match="Expected a list of texts"):
        texts('"shop"')
    assert [text(value) for value in ("None", "", None, "007")] == ["", "", "", "007"]
