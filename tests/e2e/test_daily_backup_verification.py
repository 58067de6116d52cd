"""The daily verification after the three nights: all sources have a backup; then one is damaged, and repaired."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_playbook.core.naming import evidence_stamp
from embedded.airflow_client import AirflowClient
from embedded.slack_server import render
from embedded.stack import PRIMARY_BUCKET
from tests.e2e.playground import SOURCES, Playground, Run
from tests.support.damage import flip_a_bit

DAG_ID = "daily_backup_verification"
Check = Callable[[], "Checked"]


@dataclass(frozen=True)
class Checked:
    """A run of the verification. `told`: its own messages, rendered."""

    client: AirflowClient
    run_id: str
    state: str
    told: list[str]

    def log(self, task_id: str, index: int = -1) -> str:
        return self.client.log(DAG_ID, self.run_id, task_id, index, 1)


@pytest.fixture(scope="module")
def check(playground: Playground, next_night: Run, file_night: str) -> Check:
    playground.client.unpause(DAG_ID)

    def run() -> Checked:
        before = len(playground.stack.slack.messages())
        run_id = playground.client.trigger(DAG_ID)
        state = playground.client.wait_for_run(DAG_ID, run_id, seconds=300)
        # the first message of a run may be followed by what waited since Slack was down
        messages = map(render, playground.stack.slack.messages()[before:])
        return Checked(playground.client, run_id, state, [text for text in messages if DAG_ID in text])

    return run


@pytest.fixture(scope="module")
def folder(playground: Playground) -> Path:
    """Of the primary repository, as the gateway's files."""
    return playground.stack.s3_primary.buckets / PRIMARY_BUCKET / "playbook"


@pytest.fixture(scope="module")
def first(check: Check) -> Checked:
    return check()


@pytest.fixture(scope="module")
def damaged(first: Checked, check: Check, folder: Path, good_night: Run) -> Checked:
    """A bit of the first night's backup has changed since it was read, which was weeks ago."""
    age(folder, good_night.backup_id("shop"))
    flip_a_bit(largest_object(folder, good_night.backup_id("shop")))
    return check()


@pytest.fixture(scope="module")
def repaired(damaged: Checked, check: Check, playground: Playground) -> Checked:
    """By the DAG that the alert names, from the other repository."""
    run_id = playground.client.trigger("repair_backup", {"source": "shop"})
    assert playground.client.wait_for_run("repair_backup", run_id, seconds=120) == "success"
    return check()


def age(folder: Path, backup_id: str) -> None:
    """Make its verification look as if it were 20 days old."""
    [file] = (folder / "catalog/shop" / backup_id).glob("verified-*")
    written = datetime.now(UTC) - timedelta(days=20)
    file.rename(file.with_name(f"verified-{evidence_stamp(written)}-full.json"))


def largest_object(folder: Path, backup_id: str) -> Path:
    return max((folder / "objects/shop" / backup_id).iterdir(), key=lambda file: file.stat().st_size)


def test_small_backups_are_told_and_leave_the_run_green(first: Checked) -> None:
    assert first.state == "success"
    headlines = [text.splitlines()[0] for text in first.told]
    assert len(headlines) == len(SOURCES) + 1
    for line in headlines:
        assert line.startswith("*:warning: ")
        assert "less than the minimum of" in line


def test_damaged_backup_is_critical_and_nothing_is_told_twice(damaged: Checked, good_night: Run) -> None:
    assert damaged.state == "failed"
    [text] = damaged.told
    backup_id = good_night.backup_id("shop")
    assert f"shop: The backup {backup_id} in primary is damaged" in text.splitlines()[0]
    assert "Its last good backup is" in text
    assert "repair_backup" in text
    log = damaged.log("report_findings")
    assert f"critical: shop: The backup {backup_id} in primary is damaged" in log
    assert "is REJECTED" in damaged.log("check.scrub", 0)


def test_end_is_told_once_it_is_repaired(repaired: Checked) -> None:
    assert repaired.state == "success"
    [text] = repaired.told
    assert text.startswith("*:white_check_mark: Resolved: shop: The backup")
    assert "<!channel>" not in text


def test_recovery_points_are_listed(repaired: Checked, playground: Playground, rough_night: Run) -> None:
    client, dag_id = playground.client, "list_recovery_points"
    client.unpause(dag_id)
    run_id = client.trigger(dag_id)
    assert client.wait_for_run(dag_id, run_id, seconds=120) == "success"
    points: dict[str, Any] = client.xcom(dag_id, run_id, dag_id)
    assert points.keys() == {"shop", "uploads", *SOURCES}
    newest = points["shop"]["verified"]
    assert newest["backup_id"] == rough_night.backup_id("shop")
    assert newest["sound_in"] == ["primary", "offsite"]
    assert newest["contents"]["rows"] > 1000
    assert "proven" not in points["shop"]
    log = client.log(dag_id, run_id, dag_id, -1, 1)
    assert f"verified    {newest['backup_id']}" in log
    assert "restore with proof: not measured yet" in log
