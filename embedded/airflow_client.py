"""A small client of Airflow's REST API, version 2: what the demo and the end-to-end tests ask it."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import requests

from embedded.errors import EmbeddedError
from embedded.processes import wait_until

POLL_SECONDS = 0.5
READING_SECONDS = 3
"""No person is faster. Airflow fails a task that is answered before the scheduler has heard that its process ended."""
FINAL_STATES = frozenset({"success", "failed"})

Json = dict[str, Any]


class AirflowClient:
    """url: the server's address, without a path. login: name and password, where not everyone is an administrator.
    Answers are the API's JSON documents.

    Raises EmbeddedError when the server refuses a request, with its reason.
    """

    def __init__(self, url: str, login: tuple[str, str] | None = None) -> None:
        self.url = url
        self._login = dict(zip(("username", "password"), login, strict=True)) if login else None
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment leads away from this machine

    def request(self, method: str, path: str, body: Json | None = None, **parameters: Any) -> Any:
        """path: below /api/v2. parameters: of the query string."""
        response = self._send(method, path, body, parameters)
        if response.status_code == 401:  # no token yet, or an expired one
            self._log_in()
            response = self._send(method, path, body, parameters)
        if not response.ok:
            raise EmbeddedError(
                f"Airflow refused {method} {path}: {response.status_code} {response.text[:1000]}",
                "The API is described at /docs of the server.",
            )
        return response.json() if response.content else {}

    def health(self) -> Json | None:
        """None as long as the server does not answer."""
        try:
            health: Json = self.request("GET", "/monitor/health")
        except requests.ConnectionError:
            return None
        return health

    def wake_execution_api(self) -> None:
        """The server builds the API for tasks at the first request to it. It takes seconds: not within a task, then."""
        self._session.get(f"{self.url}/execution/health", timeout=60).raise_for_status()

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.request("GET", "/dags", limit=1000)["dags"]}

    def import_errors(self) -> dict[str, str]:
        """File name -> stack trace."""
        errors = self.request("GET", "/importErrors", limit=1000)["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def unpause(self, dag_id: str) -> None:
        self.request("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def pause(self, dag_id: str) -> None:
        self.request("PATCH", f"/dags/{dag_id}", {"is_paused": True})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Starts a run with these params; returns its id. The DAG must not be paused, or the run waits."""
        body = {"logical_date": datetime.now(UTC).isoformat(), "conf": dict(conf or {})}
        return str(self.request("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """As a person does with a red task: the UI clears what is downstream with it."""
        body = {
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "include_downstream": True,
            "dry_run": False,
            "reset_dag_runs": True,
        }
        self.request("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def run(self, dag_id: str, run_id: str) -> Json:
        run: Json = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        return run

    def wait_for_run(
        self, dag_id: str, run_id: str, seconds: float = 600, watch: Callable[[list[Json]], None] | None = None
    ) -> str:
        """Returns the run's state, "success" or "failed". watch: called with the task instances at every look."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = str(self.run(dag_id, run_id)["state"])
            if watch:
                watch(self.task_instances(dag_id, run_id))
            if state in FINAL_STATES:
                return state
            time.sleep(POLL_SECONDS)
        states = [f"{task['task_id']} {task['state']}" for task in self.task_instances(dag_id, run_id)]
        raise EmbeddedError(
            f"{dag_id} has not ended within {seconds:.0f} s: {', '.join(states)}.",
            f"See {self.run_url(dag_id, run_id)}.",
        )

    def question(self, dag_id: str, run_id: str, seconds: float = 300) -> Json:
        """What the run asks of people, as soon as it does: `options`, `body`, and the `task_instance` that waits."""
        asked: list[Json] = []

        def asks() -> bool:
            found = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/hitlDetails")["hitl_details"]
            asked[:] = [detail for detail in found if not detail["response_received"]]
            return bool(asked) or self.run(dag_id, run_id)["state"] in FINAL_STATES

        if not wait_until(asks, seconds, POLL_SECONDS) or not asked:
            raise EmbeddedError(f"{dag_id} has asked nobody.", f"See {self.run_url(dag_id, run_id)}.")
        time.sleep(READING_SECONDS)
        return asked[0]

    def answer(self, question: Json, option: str) -> None:
        task = question["task_instance"]
        path = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails".format(**task)
        # an option ends with the mark of its plan
        chosen = [offered for offered in question["options"] if offered.startswith(option)]
        self.request("PATCH", path, {"chosen_options": chosen, "params_input": {}})

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        instances: list[Json] = self.request("GET", path, limit=1000)["task_instances"]
        return instances

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.request("GET", path, map_index=map_index, deserialize=True)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        """One line per event; details that are not the message follow it as name=value."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.request("GET", path, map_index=map_index, full_content=True)["content"]
        return "\n".join(_log_line(event) for event in content)

    def run_url(self, dag_id: str, run_id: str) -> str:
        """For people."""
        return f"{self.url}/dags/{dag_id}/runs/{run_id}"

    def _send(self, method: str, path: str, body: Json | None, parameters: Json) -> requests.Response:
        return self._session.request(method, f"{self.url}/api/v2{path}", json=body, params=parameters, timeout=60)

    def _log_in(self) -> None:
        method = "POST" if self._login else "GET"
        response = self._session.request(method, f"{self.url}/auth/token", json=self._login, timeout=60)
        response.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def _log_line(event: Json | str) -> str:
    if isinstance(event, str):
        return event
    first = ("timestamp", "level", "event")
    details = [f"{name}={value}" for name, value in event.items() if name not in (*first, "logger")]
    return " ".join([*(str(event.get(name) or "") for name in first), *details])
