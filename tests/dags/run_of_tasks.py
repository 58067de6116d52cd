"""A run of tasks without Airflow's database: what one leaves, the next one finds."""

from collections.abc import Collection, Iterable
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from backup_playbook.notifiers.runs import ERROR


class RunOfTasks:
    """A task instance that moves from task to task of one run, and keeps what they leave."""

    id, dag_id, run_id, try_number, map_index = "", "recover_corrupted_database", "a run", 1, -1

    def __init__(self) -> None:
        self.task_id = ""
        self.left: dict[tuple[str, str], Any] = {}
        self.states: dict[str, str] = {}
        self.params: dict[str, Any] = {}

    def xcom_pull(self, task_ids: str, key: str = "return_value", **_: Any) -> Any:
        return self.left.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.left[self.task_id, key] = value

    def get_task_states(self, **_: Any) -> dict[str, dict[str, str]]:
        return {self.run_id: self.states}

    def get_dagrun_state(self, *_: Any) -> str:
        return "running"

    def do(self, operator: BaseOperator, method: str = "execute", **arguments: Any) -> Any:
        self.task_id = operator.task_id
        self.states[self.task_id] = "failed"
        context: Any = {
            "ti": self,
            "task_instance": self,
            "run_id": self.run_id,
            "params": self.params,
            "task": operator,
            "outlet_events": MagicMock(),
        }
        try:
            done = getattr(operator, method)(context, **arguments)
        except AirflowSkipException:
            self.states[self.task_id] = "skipped"
            raise
        except DownstreamTasksSkipped as skipped:
            self.states |= {self.task_id: "success"} | dict.fromkeys(skipped.tasks, "skipped")
            raise
        except Exception as error:
            self.xcom_push(ERROR, str(error))
            raise
        self.left[self.task_id, "return_value"] = done
        self.states[self.task_id] = "success"
        return done


def named(task_ids: Iterable[str], carriers: Collection[str] = ()) -> list[Any]:
    """Steps, as far as an ending asks for them: their ids, and whether they return a hand-off."""
    return [SimpleNamespace(task_id=name, carries=name in carriers) for name in task_ids]
