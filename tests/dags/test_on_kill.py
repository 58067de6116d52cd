"""The end of a task: its programs end with it, and those of no other run."""

import time
from datetime import timedelta
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from backup_playbook.config import CommandCheck, CommandMaintenance
from backup_playbook.connections.maintenance import MaintenanceError, switch
from backup_playbook.core.errors import CancelledError
from backup_playbook.operators.base import PlaybookOperator

COPY: Any = SimpleNamespace(name="a_copy", url="postgresql://nobody@127.0.0.1:9/a_copy")


def steps(dagbag: DagBag) -> list[PlaybookOperator]:
    return [task for dag in dagbag.dags.values() for task in dag.tasks if isinstance(task, PlaybookOperator)]


def as_airflow_runs(step: PlaybookOperator) -> PlaybookOperator:
    """Each run of a task works with a copy of the operator that the DAG file has made."""
    return step.prepare_for_execution()


def test_end_of_one_run_is_the_end_of_no_later_one(dagbag: DagBag) -> None:
    assert len(steps(dagbag)) > 50
    for step in steps(dagbag):
        killed, later = as_airflow_runs(step), as_airflow_runs(step)
        killed.on_kill()
        for one in (later, as_airflow_runs(step)):
            one.cancellation.check()
        with pytest.raises(CancelledError):
            killed.cancellation.check()


def test_programs_end_with_their_task(dagbag: DagBag) -> None:
    step: Any = dagbag.dags["monthly_restore_test"].task_dict["test.run_application_checks"]
    started, killed = time.monotonic(), as_airflow_runs(step)
    Timer(0.3, killed.on_kill).start()
    found = killed._run(program("sleep", "60"), COPY)
    assert not found["ok"]
    assert "ended with its task" in found["detail"]
    sleep = CommandMaintenance(by="command", switch_on=("sleep", "60"), switch_off=("sleep", "60"))
    with pytest.raises(MaintenanceError, match="ended with its task") as refused:
        switch(sleep, on=False, cancellation=killed.cancellation)
    assert "Switch it off manually" in refused.value.remedy
    assert time.monotonic() - started < 20
    later: Any = as_airflow_runs(step)
    assert later._run(program("sh", "-c", "echo fine"), COPY)["ok"]


def program(*words: str) -> CommandCheck:
    return CommandCheck(check="command", name="a program", command=words, timeout=timedelta(minutes=1))
