"""What holds for every DAG of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction, Timetable

from backup_playbook.config import load_config
from backup_playbook.forms.defaults import ALERTS

PROJECT = Path(__file__).parents[2]
FILES = sorted((PROJECT / "dags").rglob("*.py"))
VERB_OBJECT = re.compile(r"[a-z]+(_[a-z]+)*")
# Tasks whose object is plain from the group they are in.
BARE_VERBS = {"guard", "scan", "seal", "sync", "verify", "prune", "restore", "prove", "scrub", "assess"}
PARTS = ("When", "What", "When it fails")
HEAVY = ("boto3", "botocore", "psycopg", "pymongo", "slack_sdk", "airflow.providers.amazon.aws.hooks.s3")


def test_every_file_can_be_imported(dagbag: DagBag) -> None:
    assert dagbag.import_errors == {}


def test_every_dag_with_a_schedule_alerts(dagbag: DagBag) -> None:
    """Nobody watches the runs that nobody started."""
    scheduled = [dag for dag in dagbag.dags.values() if dag.timetable.can_be_scheduled]
    assert scheduled
    callbacks = {dag.dag_id: {name: getattr(dag, name) for name in ALERTS} for dag in scheduled}
    assert callbacks == {dag.dag_id: ALERTS for dag in scheduled}


def test_a_dag_that_is_switched_on_waits_for_its_time(dagbag: DagBag, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a minute after it: nobody wants a backup in the middle of the day."""
    for dag in dagbag.dags.values():
        timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
        if timetable.can_be_scheduled:
            due = first_run(timetable)
            monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda due=due: due + timedelta(minutes=1))
            assert first_run(timetable) > due
            monkeypatch.undo()


def first_run(timetable: Timetable) -> datetime:
    restriction = TimeRestriction(earliest=None, latest=None, catchup=False)
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    assert info
    return info.run_after


def test_recoveries_are_ready_for_the_button(dagbag: DagBag) -> None:
    """A run of a paused DAG waits, and nobody wants to look for the switch at night."""
    by_hand = [dag for dag in dagbag.dags.values() if dag.tags == {"restore"}]
    assert by_hand
    assert [dag.dag_id for dag in by_hand if dag.is_paused_upon_creation is not False] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestEachDag:
    def test_is_named_as_its_file(self, dagbag: DagBag, file: Path) -> None:
        assert [dag_id for dag_id, dag in dagbag.dags.items() if Path(dag.fileloc) == file] == [file.stem]

    def test_page_says_when_what_and_what_to_do(self, dagbag: DagBag, file: Path) -> None:
        page = dagbag.dags[file.stem].doc_md or ""
        assert page.startswith("# ")
        assert [part for part in re.findall(r"^\*\*(.+?):\*\*", page, re.M) if part in PARTS] == list(PARTS)

    def test_a_failed_step_fails_the_run(self, dagbag: DagBag, file: Path) -> None:
        """Airflow asks only the last tasks. One whose only successor is a teardown that counts is not among them."""
        dag = dagbag.dags[file.stem]
        successors = {task.task_id: task.downstream_task_ids for task in dag.tasks if not task.is_teardown}
        assert [
            step for step, next_ in successors.items() if next_ and all(dag.task_dict[n].is_teardown for n in next_)
        ] == []

    def test_every_step_is_on_the_page(self, dagbag: DagBag, file: Path) -> None:
        dag = dagbag.dags[file.stem]
        helpers = {"list_sources", "announce_result"}
        steps = {task.task_id.split(".")[-1] for task in dag.tasks} - helpers
        assert [step for step in steps if f"`{step}`" not in (dag.doc_md or "")] == []

    def test_tasks_are_named_verb_object(self, dagbag: DagBag, file: Path) -> None:
        names = {task.task_id.split(".")[-1] for task in dagbag.dags[file.stem].tasks}
        assert [name for name in names if not VERB_OBJECT.fullmatch(name)] == []
        assert {name for name in names if "_" not in name} <= BARE_VERBS

    def test_shares_the_defaults(self, dagbag: DagBag, file: Path) -> None:
        dag = dagbag.dags[file.stem]
        assert {task.pool for task in dag.tasks} == {load_config().airflow.pool}
        assert (dag.max_active_runs, dag.catchup) == (1, False)
        assert dag.tags == {file.parent.name}

    def test_params_have_titles(self, dagbag: DagBag, file: Path) -> None:
        params = dagbag.dags[file.stem].params
        untitled = [name for name in params if not {"title", "type"} <= params.get_param(name).schema.keys()]
        assert untitled == []

    def test_form_can_be_sent_with_fields_that_are_empty(self, dagbag: DagBag, file: Path) -> None:
        """It takes an empty field that may not be null for one that is missing, and greys out the button."""
        params = dagbag.dags[file.stem].params
        known = {name: params.get_param(name) for name in params}
        empty = [
            name for name, param in known.items() if param.value in ("", []) and "null" not in param.schema["type"]
        ]
        assert empty == []


def airflow_environment(home: Path, **variables: str) -> dict[str, str]:
    """Of a process with an Airflow of its own: what this one has imported does not count."""
    settings = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    return {**os.environ, **settings, "PYTHONPATH": str(PROJECT / "plugins"), **variables}


def run_python(program: str, environment: dict[str, str]) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program, str(PROJECT / "dags")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines()[-1]


def test_parsing_imports_nothing_heavy(tmp_path: Path) -> None:
    """The dag processor parses all files every few seconds: clients are imported by the tasks that need them."""
    program = (
        "import json, pathlib, runpy, sys\n"
        "for file in pathlib.Path(sys.argv[1]).rglob('*.py'):\n"
        "    runpy.run_path(str(file))\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    assert json.loads(run_python(program, airflow_environment(tmp_path))) == []


def test_broken_configuration_is_an_import_error_with_every_problem(tmp_path: Path) -> None:
    config = shutil.copytree(PROJECT / "include/config", tmp_path / "config")
    sources = config / "sources.yaml"
    sources.write_text(sources.read_text().replace("repository: primary", "repository: primry\n    colour: red"))
    program = (
        "import json, sys\n"
        "from airflow.dag_processing.dagbag import DagBag\n"
        "bag = DagBag(sys.argv[1])\n"
        "print(json.dumps([len(bag.dags), list(bag.import_errors.values())]))"
    )
    environment = airflow_environment(tmp_path / "home", BACKUP_PLAYBOOK_CONFIG=str(config))
    dags, errors = json.loads(run_python(program, environment))
    assert (dags, len(errors)) == (0, len(FILES))
    for error in errors:
        assert "sources.yaml: sources.shop.colour" in error
        assert "primry" in error
        assert "What to do: Correct the lines above" in error
