"""The environment and the commands of docker-compose.yaml on this machine: CeleryExecutor, Redis and two workers."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedded.airflow_client import AirflowClient
from embedded.errors import EmbeddedError
from embedded.processes import LOOPBACK, ProcessId, choose_port, kill, spawn, wait_until
from embedded.stack import PROJECT, Stack
from include.sample import load
from tests.e2e.playground import DAG_ID, SHOP_SCALE

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
WORKERS = ("one", "two")


@dataclass(frozen=True)
class Cluster:
    client: AirflowClient
    directory: Path

    def succeeded_on(self, worker: str) -> int:
        """How many tasks the worker ran to their end."""
        return len(
            re.findall(r"execute_workload\[.*succeeded in", (self.directory / f"worker-{worker}.log").read_text())
        )


def compose_environment(stack: Stack, directory: Path, redis_port: int, api_port: int) -> dict[str, str]:
    """That of the worker, with this machine's addresses instead of the containers' names."""
    addresses = {
        "@metadata/": f"@{LOOPBACK}:{stack.staging.port}/",
        "redis:6379": f"{LOOPBACK}:{redis_port}",
        "airflow-apiserver:8080": f"{LOOPBACK}:{api_port}",
    }
    environment = {}
    for name, value in SERVICES["airflow-worker"]["environment"].items():
        filled = re.sub(r"\$\{[A-Z0-9_]+:-([^}]*)\}", r"\1", value)
        for container, address in addresses.items():
            filled = filled.replace(container, address)
        environment[name] = filled
    return {
        **os.environ,
        **environment,
        **stack.environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        "NO_PROXY": LOOPBACK,
        "no_proxy": LOOPBACK,
        "BACKUP_PLAYBOOK_CONFIG": str(PROJECT / "include/config"),
        "AIRFLOW_HOME": str(directory / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(api_port),
        "AIRFLOW__API__WORKERS": "1",
        # Container ports: the healthchecks of docker-compose.yaml use it, this test does not.
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "false",
    }


def commands(directory: Path, redis_port: int) -> dict[str, list[str]]:
    """By name. Logs are read from the disk that all share, so nobody serves them."""

    def airflow(service: str, *words: str) -> list[str]:
        return ["airflow", *SERVICES[f"airflow-{service}"]["command"].split(), *words]

    workers = {
        f"worker-{name}": airflow(
            "worker",
            *("--celery-hostname", f"{name}@%h", "--concurrency", "1", "--skip-serve-logs"),
            *("--pid", str(directory / f"{name}.pid")),
        )
        for name in WORKERS
    }
    return {
        "redis": ["redis-server", "--bind", LOOPBACK, "--port", str(redis_port), "--save", ""],
        "apiserver": airflow("apiserver"),
        "scheduler": airflow("scheduler", "--skip-serve-logs"),
        "dag-processor": airflow("dag-processor"),
        **workers,
    }


def initialize(stack: Stack, environment: Mapping[str, str]) -> None:
    with stack.staging.connect() as connection:
        connection.execute("CREATE ROLE airflow LOGIN PASSWORD 'demo-metadata'")
        connection.execute("CREATE DATABASE airflow OWNER airflow")
    subprocess.run(SERVICES["airflow-init"]["command"], env=dict(environment), check=True, capture_output=True)


def ready(client: AirflowClient) -> bool:
    try:
        return client.health() is not None and DAG_ID in client.dag_ids()
    except EmbeddedError:
        return False


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    directory = tmp_path_factory.mktemp("celery")
    stack = Stack(directory / "stack")
    with ExitStack() as cleanup:
        cleanup.callback(stack.remove)
        stack.start()
        load(stack.shop_dsn, SHOP_SCALE)
        redis_port, api_port = choose_port(), choose_port()
        environment = compose_environment(stack, directory, redis_port, api_port)
        initialize(stack, environment)
        processes: list[ProcessId] = []
        # at once: none of them has anything to save
        cleanup.callback(lambda: kill([member for process in processes for member in process.session()]))
        for name, command in commands(directory, redis_port).items():
            child = spawn(command, environment, directory, directory / f"{name}.log")
            processes.append(ProcessId.of(child.pid))
        client = AirflowClient(f"http://{LOOPBACK}:{api_port}")
        assert wait_until(lambda: ready(client), 120, 0.5), "Airflow is not up after two minutes"
        yield Cluster(client, directory)


def test_nightly_backup_is_green_on_two_workers(cluster: Cluster) -> None:
    cluster.client.unpause(DAG_ID)
    run_id = cluster.client.trigger(DAG_ID)
    assert cluster.client.wait_for_run(DAG_ID, run_id, 180) == "success"
    [backup] = cluster.client.xcom(DAG_ID, run_id, "announce_result")
    assert backup["verified"] == {"primary": "full", "offsite": "full"}

    tasks = len(cluster.client.task_instances(DAG_ID, run_id))
    assert wait_until(lambda: sum(map(cluster.succeeded_on, WORKERS)) == tasks, 20, 0.2)
    assert all(map(cluster.succeeded_on, WORKERS)), "one worker did everything"
