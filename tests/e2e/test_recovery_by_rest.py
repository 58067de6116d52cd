"""Who may start a recovery by REST, and that the README's lines do it. The DAGs are paused: nothing runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from embedded.airflow import AirflowServer
from embedded.stack import PROJECT

RECOVERIES = [
    "recover_corrupted_database",
    "recover_deleted_rows",
    "recover_deleted_documents",
    "restore_database",
    "restore_files",
]
PASSWORD = "it's a pass word"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (PROJECT / "README.md").read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    server = AirflowServer(tmp_path_factory.mktemp("airflow"), {}, PROJECT / "dags" / "restore", {"ada": PASSWORD})
    try:
        server.start()
        for dag_id in RECOVERIES:
            server.client.pause(dag_id)
        yield server
    finally:
        server.stop()


def runs(airflow: AirflowServer) -> list[tuple[str, str]]:
    """DAG and state."""
    found = airflow.client.request("GET", "/dags/~/dagRuns")["dag_runs"]
    return sorted((run["dag_id"], run["state"]) for run in found)


@pytest.mark.parametrize("dag_id", RECOVERIES)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}], ids=["no", "wrong"])
def test_recovery_needs_a_token(dag_id: str, headers: dict[str, str], airflow: AirflowServer) -> None:
    before = runs(airflow)
    body = {"logical_date": None, "conf": {"source": "shop", "table": "users", "keys": ["7"]}}
    url = f"{airflow.url}/api/v2/dags/{dag_id}/dagRuns"
    assert requests.post(url, json=body, headers=headers, timeout=60).status_code == 401
    assert runs(airflow) == before


@pytest.mark.parametrize("login", [None, {"username": "ada", "password": "wrong"}])
def test_token_needs_the_password(login: dict[str, str] | None, airflow: AirflowServer) -> None:
    method = "POST" if login else "GET"
    assert requests.request(method, f"{airflow.url}/auth/token", json=login, timeout=60).status_code in (401, 403)


@pytest.mark.parametrize("block", BLOCKS, ids=["curl", "airflow"])
def test_lines_of_the_readme_start_recoveries(block: str, airflow: AirflowServer, tmp_path: Path) -> None:
    for program in ("curl", "jq"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    before = runs(airflow)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(airflow.home),
        "PYTHONPATH": "",
        "AIRFLOW_URL": airflow.url,
        "NO_PROXY": "127.0.0.1",
    }
    (tmp_path / "login.json").write_text(json.dumps({"username": "ada", "password": PASSWORD}))
    script = ["bash", "-euo", "pipefail", "-c", block]
    result = subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    new = list(runs(airflow))
    for run in before:
        new.remove(run)
    assert {dag_id for dag_id, _ in new} <= set(RECOVERIES)
    assert new
    assert {state for _, state in new} == {"queued"}


def test_readme_starts_each_recovery_by_rest() -> None:
    assert [dag_id for dag_id in RECOVERIES if f"/dags/{dag_id}/dagRuns" not in BLOCKS[0]] == []
