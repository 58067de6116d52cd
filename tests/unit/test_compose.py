"""docker-compose.yaml fits the compose specification, Airflow's options and what this project reads.

No container is started: every rule here is one whose violation would show only after minutes of building.
"""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from embedded.binaries import VERSITYGW

pytestmark = pytest.mark.drift

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = PROJECT / "docker-compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKER = SERVICES["airflow-worker"]
CONFIG = PROJECT / "include/config"
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+):-([^}]*)\}")


def defaults_filled_in(value: str) -> str:
    """What compose makes of `${NAME:-default}` with an empty environment."""
    return VARIABLE.sub(r"\2", value)


def connections() -> dict[str, dict[str, Any]]:
    """Airflow connections by id, as the worker gets them."""
    return {
        name.removeprefix("AIRFLOW_CONN_").lower(): json.loads(defaults_filled_in(value))
        for name, value in WORKER["environment"].items()
        if name.startswith("AIRFLOW_CONN_")
    }


def configured(key: str, document: Any) -> Iterator[Any]:
    """Every value of `key`, and of keys that end in `_key`, at any depth."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == key or name.endswith(f"_{key}"):
                yield value
            yield from configured(key, value)
    elif isinstance(document, list):
        for item in document:
            yield from configured(key, item)


def configuration(key: str) -> set[Any]:
    files = sorted(CONFIG.glob("*.yaml"))
    assert files, f"{CONFIG} has no configuration"
    return {value for file in files for value in configured(key, yaml.safe_load(file.read_text())) if value is not None}


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Source by target."""
    return {target: source for source, target, *_ in (mount.split(":") for mount in service.get("volumes", []))}


def test_fits_the_compose_specification() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_has_a_connection_for_each_that_the_configuration_names() -> None:
    assert configuration("connection") <= set(connections())


def test_has_no_connection_that_nothing_reads() -> None:
    readers = [
        file
        for folder in ("dags", "plugins", "include", "embedded")
        for suffix in ("py", "yaml")
        for file in (PROJECT / folder).rglob(f"*.{suffix}")
    ]
    text = "\n".join(file.read_text() for file in readers)
    assert {name for name in connections() if name not in text.lower()} == set()


def test_every_host_is_a_service() -> None:
    urls = [value for value in WORKER["environment"].values() if "://" in value and not value.startswith("{")]
    hosts = {urlsplit(defaults_filled_in(url)).hostname for url in urls}
    for connection in connections().values():
        endpoint = connection.get("extra", {}).get("endpoint_url")
        hosts |= {connection.get("host"), urlsplit(endpoint).hostname if endpoint else None}
    assert hosts - {None} <= set(SERVICES)


def test_every_bucket_is_on_the_server_of_its_connection() -> None:
    repositories = yaml.safe_load((CONFIG / "repositories.yaml").read_text())["repositories"]
    for name, repository in repositories.items():
        endpoint = urlsplit(connections()[repository["connection"]]["extra"]["endpoint_url"]).hostname
        assert repository["bucket"] in SERVICES[str(endpoint)]["environment"]["BUCKETS"].split(), name


def test_buckets_of_files_keep_versions() -> None:
    repositories, sources = (
        yaml.safe_load((CONFIG / f"{name}.yaml").read_text())[name] for name in ("repositories", "sources")
    )
    trees = [source for source in sources.values() if source["engine"] == "files"]
    named = [repositories[name] for tree in trees for name in (tree["repository"], *tree["offsite"])]
    calls = {f'S3Hook("{one["connection"]}").conn.put_bucket_versioning(Bucket="{one["bucket"]}"' for one in named}
    assert calls
    assert {call for call in calls if call not in SERVICES["airflow-init"]["command"][-1]} == set()


def test_directories_of_the_configuration_are_mounted() -> None:
    assert configuration("directory")
    assert configuration("directory") <= set(mounts(WORKER))


def test_creates_the_pools_that_the_configuration_names() -> None:
    command = " ".join(SERVICES["airflow-init"]["command"])
    pools = configuration("pool")
    assert pools
    assert {pool for pool in pools if f"airflow pools set {pool} " not in command} == set()


def test_mounts_exist() -> None:
    for service in SERVICES.values():
        for source in mounts(service).values():
            assert (PROJECT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source


def test_airflow_sees_the_folders_of_this_project() -> None:
    mounted = mounts(WORKER)
    assert {mounted[f"/opt/airflow/{folder}"] for folder in ("dags", "plugins", "include")} == {
        "./dags",
        "./plugins",
        "./include",
    }
    configured_folder = Path(WORKER["environment"]["BACKUP_PLAYBOOK_CONFIG"])
    assert PROJECT / mounted[str(configured_folder.parent)] / configured_folder.name == CONFIG


def test_secrets_come_from_variables_and_their_defaults_say_demo() -> None:
    environments = [service.get("environment", {}) for service in SERVICES.values()]
    secrets = {
        name: value
        for environment in environments
        for name, value in environment.items()
        if re.search("PASSWORD|SECRET|ACCESS_KEY", name)
    }
    secrets |= {
        f"{name}.{field}": json.loads(value)[field]
        for name, value in WORKER["environment"].items()
        if name.startswith("AIRFLOW_CONN_")
        for field in ("login", "password")
        if field in json.loads(value)
    }
    roles = {"backup", "postgres"}
    not_demo = {
        name
        for name, value in secrets.items()
        if value not in roles and not ((match := VARIABLE.fullmatch(value)) and "demo" in match[2])
    }
    assert secrets
    assert not_demo == set()


def test_ports_are_bound_to_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_airflow_option_exists() -> None:
    """An option with a mistake in its name is ignored without a word."""
    package = importlib.util.find_spec("airflow")
    assert package
    assert package.origin
    airflow = Path(package.origin).parent
    sections = yaml.safe_load((airflow / "config_templates/config.yml").read_text())
    # Run as a file: importing it would import Airflow, which takes seconds.
    celery = runpy.run_path(str(airflow / "providers/celery/get_provider_info.py"))["get_provider_info"]()
    sections |= celery["config"]
    for name in WORKER["environment"]:
        if name.startswith("AIRFLOW__"):
            section, option = name.removeprefix("AIRFLOW__").lower().split("__")
            assert option in sections[section]["options"], name


def test_versions_are_those_of_the_project() -> None:
    pin = re.search(r"^apache-airflow==(\S+)$", (PROJECT / "requirements.txt").read_text(), re.M)
    assert pin
    airflow = pin[1]
    assert f"FROM apache/airflow:{airflow}-" in (PROJECT / "Dockerfile").read_text()
    assert WORKER["image"].endswith(f":{airflow}")
    assert SERVICES["s3-primary"]["image"] == f"versity/versitygw:{VERSITYGW.version}"


def test_the_image_gets_what_it_copies() -> None:
    copied = re.findall(r"^COPY (\S+) ", (PROJECT / "Dockerfile").read_text(), re.M)
    kept = {line.strip("!/") for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == kept
    assert [path for path in copied if not (PROJECT / path).exists()] == []
