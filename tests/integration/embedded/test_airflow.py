"""The embedded Airflow: that it is a real one, and that nothing of it stays behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.airflow import AirflowServer
from embedded.errors import EmbeddedError
from embedded.processes import load_process, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("embedded-airflow")]

GREETING = """
import os
import sys
from airflow.sdk import dag, task

@dag(schedule=None, params={"name": "nobody"})
def greeting():
    @task(pool="backups")
    def greet(letter, params=None):
        print("hello", params["name"])
        if params["name"] == "error":
            raise ValueError("told to fail")
        return {"letter": letter, "variable": os.environ["FROM_THE_TEST"], "path": sys.path}

    greet.expand(letter=["a", "b"])

greeting()
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    dags = tmp_path_factory.mktemp("dags")
    (dags / "greeting.py").write_text(GREETING)
    (dags / "broken.py").write_text("from airflow.sdk import dag\nimport a_module_that_does_not_exist\n")
    server = AirflowServer(tmp_path_factory.mktemp("airflow"), {"FROM_THE_TEST": "yes"}, dags=dags)
    try:
        yield server.start(allow_import_errors=True)
    finally:
        server.stop()


def run(airflow: AirflowServer, name: str) -> tuple[str, str]:
    airflow.client.unpause("greeting")
    run_id = airflow.client.trigger("greeting", {"name": name})
    return run_id, airflow.client.wait_for_run("greeting", run_id, seconds=120)


def test_run_leaves_states_results_and_logs(airflow: AirflowServer) -> None:
    run_id, state = run(airflow, "world")
    assert state == "success"
    assert [task["state"] for task in airflow.client.task_instances("greeting", run_id)] == ["success", "success"]
    assert "hello world" in airflow.client.log("greeting", run_id, "greet", map_index=1)

    result = airflow.client.xcom("greeting", run_id, "greet", map_index=1)
    assert (result["letter"], result["variable"]) == ("b", "yes")
    project = str(Path(__file__).parents[3])
    assert project not in result["path"], "tasks would find modules that another Airflow does not have"


def test_failed_task_makes_a_failed_run(airflow: AirflowServer) -> None:
    run_id, state = run(airflow, "error")
    assert state == "failed"
    assert "told to fail" in airflow.client.log("greeting", run_id, "greet", map_index=0)


def test_file_that_cannot_be_imported_is_named(airflow: AirflowServer) -> None:
    [(file, trace)] = airflow.client.import_errors().items()
    assert file.endswith("broken.py")
    assert "a_module_that_does_not_exist" in trace
    with pytest.raises(EmbeddedError, match="a_module_that_does_not_exist"):
        airflow.start()


def test_unknown_dag_is_an_error(airflow: AirflowServer) -> None:
    with pytest.raises(EmbeddedError, match="404"):
        airflow.client.trigger("unknown")


def test_end_of_one_component_ends_all_and_says_which(airflow: AirflowServer) -> None:
    process = load_process(airflow.directory / "process.json")
    assert process
    [triggerer] = [p for p in process.session() if p.ppid() == process.pid and "triggerer" in " ".join(p.cmdline())]
    triggerer.kill()
    assert wait_until(lambda: not airflow.running, 30)
    assert wait_until(lambda: not process.session(), 10)
    assert "triggerer ended with -9" in airflow.log.read_text()

    airflow.start(allow_import_errors=True)
    assert "greeting" in airflow.client.dag_ids()
