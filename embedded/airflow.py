"""A real Airflow for the demo and the end-to-end tests: all components, SQLite, LocalExecutor, a home of its own."""

import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

from embedded.airflow_client import AirflowClient
from embedded.daemon import Daemon
from embedded.errors import EmbeddedError
from embedded.processes import LOOPBACK, wait_until
from embedded.stack import PROJECT

POOLS = {"backups": {"slots": 2, "description": "Backups and restores that run at once"}}
HEALTHY_SECONDS = 150
POLL_SECONDS = 0.3
COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")

# What holds for every embedded Airflow.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "core": {
        "executor": "LocalExecutor",
        "parallelism": "4",
        "load_examples": "False",
        "simple_auth_manager_all_admins": "True",
        "plugins_folder": str(PROJECT / "plugins"),
    },
    "database": {"load_default_connections": "False"},
    "api": {"host": LOOPBACK, "workers": "1"},
    # A changed DAG file is parsed at once; the interval is for what it reads, such as include/config. Parsing all of
    # them takes 10 to 20 s of a core.
    "dag_processor": {"refresh_interval": "5", "min_file_process_interval": "120", "parsing_processes": "2"},
    "scheduler": {"scheduler_idle_sleep_time": "0.2"},
    "usage_data_collection": {"enabled": "False"},
}


class AirflowServer(Daemon):
    """Everyone who reaches its port is an administrator, unless there are users: it listens on 127.0.0.1 only.

    environment: variables for all components and tasks, such as Stack.environment(). dags: the folder with DAG files.
    users: administrators' passwords by name; the client is the first of them.
    """

    name: ClassVar[str] = "airflow"
    start_seconds: ClassVar[float] = 120
    stop_seconds: ClassVar[float] = 20

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        dags: Path = PROJECT / "dags",
        users: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.home = self.directory / "home"
        self.dags = Path(dags)
        self.users = dict(users or {})
        self._environment = dict(environment)

    @cached_property
    def client(self) -> AirflowClient:
        return AirflowClient(self.url, next(iter(self.users.items()), None))

    def start(self, allow_import_errors: bool = False) -> Self:
        """Returns when all components are healthy and all DAG files are parsed.

        Raises EmbeddedError with the stack traces when a DAG file cannot be imported, unless that is allowed.
        """
        self._stop_if_its_environment_changed()
        super().start()
        self.client.wake_execution_api()
        if not wait_until(self._healthy, HEALTHY_SECONDS, POLL_SECONDS):
            raise EmbeddedError(
                f"Airflow is not healthy after {HEALTHY_SECONDS} s: {self.client.health()}",
                f"Read the logs of its components in {self.directory}.",
            )
        self._wait_for_dags(allow_import_errors)
        return self

    def command(self, port: int) -> Sequence[str]:
        self._write_config(port)
        script = Path(__file__).with_name("airflow_main.py")
        # -P: the script's own directory holds an airflow.py, which must not be the package `airflow`.
        return [sys.executable, "-P", str(script), str(port), json.dumps(POOLS), str(self.directory)]

    def environment(self) -> Mapping[str, str]:
        no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY", os.environ.get("no_proxy")), LOOPBACK]))
        return {
            **self._environment,
            "AIRFLOW_HOME": str(self.home),
            # As on any other Airflow, the tasks find only what is in dags/, plugins/ and config/.
            "PYTHONPATH": "",
            # Tasks reach the API server, S3 and Slack without the proxy that the environment may name.
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def first_state(self) -> Mapping[str, str]:
        fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        return {"fernet_key": fernet, "api_secret": secrets.token_hex(32), "jwt_secret": secrets.token_hex(64)}

    def _stop_if_its_environment_changed(self) -> None:
        """A server that was left running by a killed demo may know addresses that are no longer true."""
        digest = hashlib.sha256(json.dumps(self._environment, sort_keys=True).encode()).hexdigest()
        file = self.directory / "environment.sha256"
        if not file.exists() or file.read_text() != digest:
            self.stop()
            file.write_text(digest)

    def _write_config(self, port: int) -> None:
        """Before Airflow does: its components would each generate one, with different secrets, at the same time.

        With all settings in it, `AIRFLOW_HOME=... airflow ...` works manually.
        """
        home = self.home
        home.mkdir(exist_ok=True)
        sections = {name: dict(values) for name, values in SETTINGS.items()}
        url = f"http://{LOOPBACK}:{port}"
        sections["core"] |= {
            "dags_folder": str(self.dags),
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": self.state("fernet_key"),
        }
        if self.users:
            passwords = home / "passwords.json"
            passwords.touch(mode=0o600)
            passwords.write_text(json.dumps(self.users))
            sections["core"] |= {
                "simple_auth_manager_all_admins": "False",
                "simple_auth_manager_users": ",".join(f"{name}:admin" for name in self.users),
                "simple_auth_manager_passwords_file": str(passwords),
            }
        sections["api"] |= {"port": str(port), "base_url": url, "secret_key": self.state("api_secret")}
        sections["api_auth"] = {"jwt_secret": self.state("jwt_secret")}
        sections["database"]["sql_alchemy_conn"] = f"sqlite:///{home / 'airflow.db'}"
        sections["logging"] = {"base_log_folder": str(home / "logs")}
        lines = [
            line
            for name, values in sections.items()
            for line in (f"[{name}]", *(f"{key} = {value.replace('%', '%%')}" for key, value in values.items()), "")
        ]
        config = home / "airflow.cfg"
        config.touch(mode=0o600)
        config.write_text("\n".join(lines))

    def _healthy(self) -> bool:
        health = self.client.health()
        return health is not None and all(health[component]["status"] == "healthy" for component in COMPONENTS)

    def _wait_for_dags(self, allow_import_errors: bool) -> None:
        """A DAG file's stem is the id of its DAG, so the files tell which DAGs there will be."""
        expected = {path.stem for path in self.dags.rglob("*.py") if _may_hold_a_dag(path)}

        def parsed() -> bool:
            broken = {Path(file).stem for file in self.client.import_errors()}
            return expected <= self.client.dag_ids() | broken

        complete = wait_until(parsed, HEALTHY_SECONDS, POLL_SECONDS)
        errors = self.client.import_errors()
        if errors and not allow_import_errors:
            traces = "\n".join(f"{file}:\n{trace}" for file, trace in errors.items())
            raise EmbeddedError(f"{len(errors)} DAG files cannot be imported:\n{traces}", "Correct them.")
        if not complete:
            missing = sorted(expected - self.client.dag_ids())
            raise EmbeddedError(
                f"Airflow did not parse within {HEALTHY_SECONDS} s: {', '.join(missing)}.",
                f"Read {self.directory / 'dag-processor.log'}; a DAG file must be named as its DAG.",
            )


def _may_hold_a_dag(file: Path) -> bool:
    """Airflow's own rule ([core] dag_discovery_safe_mode): other files are never parsed."""
    text = file.read_text().lower()
    return "dag" in text and "airflow" in text
