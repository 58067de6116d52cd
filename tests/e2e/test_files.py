"""Files by REST: backed up, lost, approved by a person, and brought back.

With an Airflow of its own: a source of files beside those of the playground would change what its nights look like.
"""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backup_playbook.config.load import DEFAULT_FOLDER
from embedded.airflow import AirflowServer
from embedded.airflow_client import AirflowClient
from embedded.processes import wait_until
from embedded.s3 import S3Gateway
from embedded.slack import SlackReceiver
from embedded.slack_server import render
from tests.e2e.test_recover_corrupted_database import READING_SECONDS
from tests.integration.files.lab import state

NIGHT = "nightly_file_backup"
COUNT = 20


class Stand:
    """A directory that is backed up, and who does it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.uploads, self.restores = directory / "uploads", directory / "restores"
        self.s3, self.slack = S3Gateway(directory / "s3"), SlackReceiver(directory / "slack")
        self.airflow: AirflowServer

    def start(self) -> "Stand":
        for folder in (self.uploads, self.restores):
            folder.mkdir()
        for number in range(COUNT):
            (self.uploads / f"{number:02}.txt").write_bytes(b"%d" % number)
        self.s3.start()
        self.slack.start()
        self._configure()
        store = {
            "conn_type": "aws", "login": self.s3.access_key, "password": self.s3.secret_key,
            "extra": {"endpoint_url": self.s3.endpoint_url, "region_name": self.s3.region},
        }  # fmt: skip
        connections = {
            "s3_primary": store, "s3_offsite": store,
            "slack_alerts": {"conn_type": "slackwebhook", "password": self.slack.webhook_url},
            "slack_critical": {"conn_type": "slackwebhook", "password": self.slack.critical_webhook_url},
        }  # fmt: skip
        variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
        config = {"BACKUP_PLAYBOOK_CONFIG": str(self.directory / "config")}
        self.airflow = AirflowServer(self.directory / "airflow", variables | config)
        self.airflow.start()
        self.client.unpause(NIGHT)
        return self

    def stop(self) -> None:
        for part in (getattr(self, "airflow", None), self.slack, self.s3):
            if part:
                part.stop()

    @property
    def client(self) -> AirflowClient:
        return self.airflow.client

    def run(self, dag_id: str, **params: Any) -> str:
        """Of one that succeeds: its id."""
        run_id = self.client.trigger(dag_id, params)
        self.must_succeed(dag_id, run_id)
        return run_id

    def must_succeed(self, dag_id: str, run_id: str) -> None:
        state = self.client.wait_for_run(dag_id, run_id, seconds=400)
        tasks = [f"{task['task_id']} {task['state']}" for task in self.client.task_instances(dag_id, run_id)]
        assert state == "success", tasks

    def answer(self, dag_id: str, run_id: str, task: str, index: int, option: str) -> str:
        """Wait until the task asks, and answer; returns what it showed."""
        asked: list[dict[str, Any]] = []

        def asks() -> bool:
            asked[:] = self.client.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/hitlDetails")["hitl_details"]
            return bool(asked)

        assert wait_until(asks, 300, 0.5)
        time.sleep(READING_SECONDS)
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}/{index}/hitlDetails"
        self.client.request("PATCH", path, {"chosen_options": [option], "params_input": {}})
        return str(asked[0]["body"])

    def told(self) -> str:
        return "\n".join(render(message) for message in self.slack.messages())

    def _configure(self) -> None:
        folder = shutil.copytree(DEFAULT_FOLDER, self.directory / "config")
        client = self.s3.client()
        for bucket in ("playbook-backups", "playbook-backups-offsite"):
            self.s3.create_bucket(bucket)
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        source = {
            "engine": "files", "directory": str(self.uploads), "repository": "primary", "offsite": ["offsite"],
            "retention": "standard", "objectives": "standard",
        }  # fmt: skip
        target = {"engine": "files", "directory": str(self.restores)}
        for section, entries in (("sources", {"uploads": source}), ("targets", {"restores": target})):
            (folder / f"{section}.yaml").write_text(yaml.safe_dump({section: entries}))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    stand = Stand(tmp_path_factory.mktemp("files"))
    try:
        yield stand.start()
    finally:
        stand.stop()


def test_files_are_backed_up_lost_and_brought_back(stand: Stand) -> None:
    before = state(stand.uploads)
    first = stand.run(NIGHT)
    assert "uploads is backed up and verified" in stand.told()
    backup_id = stand.client.xcom(NIGHT, first, "protect.seal", 0)["backup_id"]

    for file in sorted(stand.uploads.iterdir())[1:]:
        file.unlink()
    asking = stand.client.trigger(NIGHT, {})
    shown = stand.answer(NIGHT, asking, "protect.guard", 0, "Approve")
    assert f"19 of {COUNT} files (95%) are lost" in shown
    stand.must_succeed(NIGHT, asking)
    assert "files are lost; the backup waits for approval" in stand.told()

    listing = stand.run("list_file_versions", source="uploads", path="07.txt")
    found = stand.client.xcom("list_file_versions", listing, "list_versions")
    assert [version["deleted"] for version in found] == [True, False]

    one = stand.run("restore_files", source="uploads", path="07.txt", version=found[1]["version"])
    root = Path(stand.client.xcom("restore_files", one, "restore", key="result")["root"])
    assert (root / "07.txt").read_bytes() == b"7"

    asking = stand.client.trigger(
        "restore_files", {"source": "uploads", "backup": backup_id, "destination": "in_place"}
    )
    assert f"{COUNT} files" in stand.answer("restore_files", asking, "approve_plan", -1, "Approve")
    stand.must_succeed("restore_files", asking)
    assert state(stand.uploads) == before
    assert "are back and proven equal" in stand.told()
