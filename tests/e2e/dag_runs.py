"""Whole DAGs, run one after another in one process: with Airflow's database and without its services.

A run takes a second or two where the real scheduler takes half a minute. As a program: answers each line of its input.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from embedded.processes import LOOPBACK
from embedded.stack import PROJECT


@dataclass(frozen=True)
class DagRun:
    """A run that has ended. tasks: states, mapped ones as `group.step_0`. left: by task, what it returned."""

    state: str
    tasks: dict[str, str]
    left: dict[str, Any]
    log: str


class DagRuns:
    """Use as a context manager."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment

    def __enter__(self) -> Self:
        home = self._directory / "home"
        home.mkdir(parents=True)
        environment = {
            **os.environ,
            **self._environment,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "PYTHONPATH": os.pathsep.join([str(PROJECT / "plugins"), str(PROJECT)]),
            "NO_PROXY": LOOPBACK,
            "no_proxy": LOOPBACK,
        }
        self._log = self._directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._directory / "answer.json")],
                env=environment, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, dag_id: str, **conf: Any) -> DagRun:
        assert self._process.stdin
        answer, before = self._directory / "answer.json", self._log.stat().st_size
        answer.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps([dag_id, conf]) + "\n")
        self._process.stdin.flush()
        while not answer.exists():
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(self._log.read_text()[-4000:])
        return DagRun(**json.loads(answer.read_text()), log=self._log.read_bytes()[before:].decode())


def main(answer: Path) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.xcom import XComModel
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session
    from sqlalchemy import select

    initdb()
    dags = DagBag(PROJECT / "dags").dags
    for line in sys.stdin:
        dag_id, conf = json.loads(line)
        dag = dags[dag_id]
        dag.deadline, dag.has_on_success_callback, dag.has_on_failure_callback = (
            None,
            False,
            False,
        )  # test() dies of them
        run = dag.test(run_conf=conf, logical_date=None)
        DagBundlesManager.get_all_dag_bundles = lambda _: ()  # it would parse all files again for each run
        with create_session() as session:
            tasks = {
                f"{one.task_id}{f'_{one.map_index}' if one.map_index >= 0 else ''}": str(one.state)
                for one in run.get_task_instances(session=session)
            }
            query = select(XComModel).where(XComModel.run_id == run.run_id, XComModel.key == "return_value")
            left = {one.task_id: XComModel.deserialize_value(one) for one in session.scalars(query)}
        made = answer.with_suffix(".new")
        made.write_text(json.dumps({"state": str(run.state), "tasks": tasks, "left": left}, default=str))
        made.rename(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
