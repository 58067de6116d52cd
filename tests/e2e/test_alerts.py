"""What people hear of runs that fail, die, hang, are late and work again: a real Airflow calls the notifiers."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from embedded.airflow import AirflowServer
from embedded.airflow_client import AirflowClient
from embedded.processes import wait_until
from embedded.s3 import S3Gateway
from embedded.slack import SlackReceiver
from embedded.slack_server import render
from embedded.stack import PRIMARY_BUCKET, PROJECT

DAG_ID = "rehearsal"
NIGHTLY = "nightly_database_backup"
NO_BACKUP = "*shop*: It has no verified backup at all."
REMEDY = "*What to do:* open the red task, read its error, and clear the task when the cause is gone, with"


class Rehearsal:
    """Slack, a repository and Airflow. Without a database no backup can succeed, and it has 3 seconds to do so."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.slack = SlackReceiver(directory / "slack")
        self.s3 = S3Gateway(directory / "s3")

    def start(self) -> "Rehearsal":
        self.slack.start()
        self.s3.start().create_bucket(PRIMARY_BUCKET)
        config = shutil.copytree(PROJECT / "include/config", self.directory / "config")
        policies = config / "policies.yaml"
        policies.write_text(re.sub(r"backed_up_within: \S+", "backed_up_within: 3s", policies.read_text()))
        dags = shutil.copytree(Path(__file__).parent / "dags", self.directory / "dags")
        shutil.copy(PROJECT / "dags/backup" / f"{NIGHTLY}.py", dags)
        connections: dict[str, dict[str, Any]] = {
            "slack_alerts": {"conn_type": "slackwebhook", "password": self.slack.webhook_url},
            "s3_primary": {
                "conn_type": "aws",
                "login": self.s3.access_key,
                "password": self.s3.secret_key,
                "extra": {"endpoint_url": self.s3.endpoint_url, "region_name": self.s3.region},
            },
            "postgres_shop": {"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "schema": "shop"},
        }
        environment = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
        self.airflow = AirflowServer(
            self.directory / "airflow", environment | {"BACKUP_PLAYBOOK_CONFIG": str(config)}, dags
        ).start()
        for dag_id in (DAG_ID, NIGHTLY):
            self.client.unpause(dag_id)
        return self

    def stop(self) -> None:
        self.airflow.stop()
        self.slack.stop()
        self.s3.stop()

    @property
    def client(self) -> AirflowClient:
        return self.airflow.client

    def run(self, end: str, messages: int) -> str:
        """Returns the id of a run that has ended, once that many messages speak of it."""
        run_id = self.client.trigger(DAG_ID, {"end": end})
        self.client.wait_for_run(DAG_ID, run_id, seconds=120)
        wait_until(lambda: len(self.about(run_id)) >= messages, 60, 0.5)
        return run_id

    def about(self, run_id: str) -> list[list[str]]:
        """The lines of each message with a link to the run, in their order."""
        texts = [render(message) for message in self.slack.messages()]
        return [text.splitlines() for text in texts if f"/runs/{quote(run_id)}" in text]

    def titled(self, words: str, run_id: str) -> list[str]:
        """The only one with these words in its title."""
        [lines] = [lines for lines in self.about(run_id) if words in lines[0]]
        return lines


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    rehearsal = Rehearsal(tmp_path_factory.mktemp("rehearsal"))
    try:
        yield rehearsal.start()
    finally:
        rehearsal.stop()


@pytest.fixture(scope="module")
def runs(rehearsal: Rehearsal) -> dict[str, str]:
    """Their ids, by what became of them, after all messages: one after another beside a nightly backup."""
    nightly = rehearsal.client.trigger(NIGHTLY)
    runs = {
        "error": rehearsal.run("error", 1),
        "recovered": rehearsal.run("well", 1),
        "well": rehearsal.run("well", 0),
        "killed": rehearsal.run("killed", 1),
        "never": rehearsal.run("never", 2),
    }
    rehearsal.client.wait_for_run(NIGHTLY, nightly, seconds=300)
    wait_until(lambda: len(rehearsal.about(nightly)) >= 2, 60, 0.5)
    return runs | {"nightly": nightly}


def test_failure_names_task_error_and_remedy(rehearsal: Rehearsal, runs: dict[str, str]) -> None:
    title, what, remedy_of_the_error, standing, remedy, link = rehearsal.titled("rehearsal failed", runs["error"])
    assert title == "*:red_circle: rehearsal failed*"
    assert what == "*`obey` failed:* The server of &lt;shop&gt; is &lt;!here&gt;."
    assert remedy_of_the_error == "What to do: start it &amp; clear this task."
    assert standing == NO_BACKUP
    assert remedy.startswith(REMEDY)
    assert f"/dags/{DAG_ID}/runs/{quote(runs['error'])}/tasks/obey" in link


def test_first_success_after_a_failure_is_told_once(rehearsal: Rehearsal, runs: dict[str, str]) -> None:
    title, standing, _ = rehearsal.titled("works again", runs["recovered"])
    assert (title, standing) == ("*:white_check_mark: rehearsal works again*", NO_BACKUP)
    assert rehearsal.about(runs["well"]) == []


def test_killed_task_has_no_last_words(rehearsal: Rehearsal, runs: dict[str, str]) -> None:
    assert "*`obey` failed:* its process ended without a word" in rehearsal.titled("failed", runs["killed"])[1]


def test_run_that_never_ends_is_late_and_then_stopped(rehearsal: Rehearsal, runs: dict[str, str]) -> None:
    late, stopped = rehearsal.about(runs["never"])
    assert late[0] == "*:red_circle: rehearsal is late: not done after 30 s*"
    assert re.fullmatch(r"It was due to start at \S+ \S+ UTC and is still running\.", late[1])
    assert late[2] == NO_BACKUP
    assert stopped[:2] == ["*:red_circle: rehearsal has not ended in time and was stopped*", "It was at `obey`."]


def test_late_night_is_told_by_the_deadline_and_its_end_once(rehearsal: Rehearsal, runs: dict[str, str]) -> None:
    """`backed_up_within` of the objectives is 3 s here. announce_result speaks for the run, nobody else does."""
    late, end = rehearsal.about(runs["nightly"])
    assert late[0] == f"*:red_circle: {NIGHTLY} is late: not done after 3 s*"
    assert late[2] == NO_BACKUP
    assert end[0] == "*:red_circle: shop is not safely backed up*"


def test_red_task_can_be_cleared(rehearsal: Rehearsal, runs: dict[str, str]) -> None:
    """While its run is not late, too: that is when people do it."""
    run_id = rehearsal.run("error", 1)
    assert rehearsal.about(run_id)[0][0] == "*:red_circle: rehearsal failed*"
    rehearsal.client.clear(DAG_ID, run_id, "obey")
    wait_until(lambda: rehearsal.client.task_instances(DAG_ID, run_id)[0]["try_number"] == 2, 60, 0.5)
    assert rehearsal.client.wait_for_run(DAG_ID, run_id, seconds=120) == "failed"
