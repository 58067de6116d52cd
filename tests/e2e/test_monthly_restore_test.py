"""The monthly restore test, started manually: a good one, and one in which a worker dies and a backup is damaged."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pymongo import MongoClient
from selenium import webdriver

from backup_playbook.core.report import Report
from embedded.airflow_client import AirflowClient
from embedded.slack_server import render
from embedded.stack import PRIMARY_BUCKET
from tests.e2e.browser import click, run_page, show_graph, wait_for_texts
from tests.e2e.conftest import kill_the_task_behind
from tests.e2e.playground import Playground, Run
from tests.support.damage import flip_a_bit

DAG_ID = "monthly_restore_test"
LEFTOVER = "scratch_shop_deadbeef"
REVIEWS = {"reviews.reviews": "20,000", "reviews.sessions": "100"}
STEPS = ["choose_backup", "create_scratch", "restore", "prove", "compare_with_production", "run_application_checks"]


@dataclass(frozen=True)
class Trial:
    """A run that has ended. `told`: its own messages, rendered."""

    client: AirflowClient
    run_id: str
    state: str
    told: list[str]

    def result(self, step: str, index: int, key: str = "return_value") -> Any:
        return self.client.xcom(DAG_ID, self.run_id, f"test.{step}", index, key)

    def states(self, index: int) -> dict[str, str]:
        tasks = self.client.task_instances(DAG_ID, self.run_id)
        return {task["task_id"].removeprefix("test."): task["state"] for task in tasks if task["map_index"] == index}


def run_restore_test(playground: Playground, meanwhile: Callable[[str], None] | None = None, **params: Any) -> Trial:
    """Started manually. meanwhile: called with the run's id as soon as it was triggered."""
    before = len(playground.stack.slack.messages())
    playground.client.unpause(DAG_ID)
    run_id = playground.client.trigger(DAG_ID, params)
    if meanwhile:
        meanwhile(run_id)
    state = playground.client.wait_for_run(DAG_ID, run_id, seconds=300)
    texts = map(render, playground.stack.slack.messages()[before:])
    return Trial(playground.client, run_id, state, [text for text in texts if DAG_ID in text])


@pytest.fixture(scope="module")
def good(playground: Playground, next_night: Run) -> Trial:
    """From the off-site copy; an earlier run of the DAG was killed, and left a scratch."""
    mark = {"backup_playbook": "scratch", "source": "shop", "backup_id": "", "owner": f"{DAG_ID}|gone|shop"}
    comment = json.dumps(mark | {"created_at": "2026-01-01T00:00:00+00:00"})
    with playground.stack.staging.connect() as connection:
        connection.autocommit = True
        connection.execute(f"CREATE DATABASE {LEFTOVER}".encode())
        connection.execute(f"COMMENT ON DATABASE {LEFTOVER} IS '{comment}'".encode())
    return run_restore_test(playground, sources=["shop"], repository="offsite")


@pytest.fixture(scope="module")
def rough(good: Trial, playground: Playground) -> Trial:
    """The worker that restores `shop` is killed; of `vault_phrase`, a bit of the newest backup has changed."""
    folder = playground.stack.s3_primary.buckets / PRIMARY_BUCKET / "playbook/objects/vault_phrase"
    newest = max(folder.iterdir(), key=lambda backup: backup.name)
    flip_a_bit(next(newest.glob("pack-*")))
    return run_restore_test(
        playground,
        lambda run_id: kill_the_task_that_restores(playground, "scratch_shop_"),
        sources=["shop", "vault_phrase"],
        repository="primary",
    )


def kill_the_task_that_restores(playground: Playground, scratch: str) -> None:
    def restoring() -> list[int]:
        with playground.stack.staging.connect() as connection:
            rows = connection.execute(
                "SELECT client_port FROM pg_stat_activity WHERE starts_with(datname, %s) AND application_name = "
                "'backup-playbook' AND query !~ 'pg_control_system'",
                [scratch],
            )
            return [row[0] for row in rows]

    kill_the_task_behind(playground, restoring, 60)


def scratches(playground: Playground) -> list[str]:
    with playground.stack.staging.connect() as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'scratch%'").fetchall()
    return [name for (name,) in rows]


def stored(playground: Playground, address: str) -> bytes:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    gateway = playground.stack.s3_primary if bucket == PRIMARY_BUCKET else playground.stack.s3_offsite
    return bytes(gateway.client().get_object(Bucket=bucket, Key=key)["Body"].read())


def report_of(playground: Playground, documented: dict[str, Any]) -> Report:
    return Report.model_validate_json(stored(playground, documented["report"].removesuffix("md") + "json"))


def rows_of(report: Report, title: str) -> list[tuple[str, ...]]:
    [found] = [table.rows for table in report.tables if table.title == title]
    return list(found)


def test_good_run_leaves_a_report_evidence_and_nothing_else(good: Trial, playground: Playground) -> None:
    assert good.state == "success"
    documented = good.result("document_result", 0)
    report = report_of(playground, documented)
    assert (report.passed, report.repository) == (True, "offsite")
    assert report.took is not None
    assert report.rto_objective is not None
    assert report.took < report.rto_objective
    assert [one["name"] for one in report.details["checks"]] == ["no order without a customer", "the shop's own checks"]
    assert len(rows_of(report, "Proof")) == len(rows_of(report, "Rows then and now")) == 18
    assert {"restore: data", "prove"} <= report.phases.keys()
    assert b"# Restore test of shop: restored and proven equal" in stored(playground, documented["report"])
    for offsite in (False, True):
        names = playground.catalog("shop", report.backup_id, offsite=offsite)
        assert [name for name in names if name.startswith("restored-") and "-offsite" in name]


def test_good_run_says_so_once(good: Trial) -> None:
    [text] = good.told
    assert text.startswith("*:white_check_mark: shop was restored and proven equal*")
    assert "2 application checks passed" in text
    assert "within the RTO of 30 min" in text


def test_scratch_of_a_killed_run_is_removed(good: Trial, playground: Playground) -> None:
    log = good.client.log(DAG_ID, good.run_id, "test.create_scratch", 0, 1)
    assert f"Removing the scratch {LEFTOVER}, which {DAG_ID}|gone|shop left" in log
    assert scratches(playground) == []


def test_killed_restore_begins_anew(rough: Trial) -> None:
    tasks = rough.client.task_instances(DAG_ID, rough.run_id)
    [restore] = [task for task in tasks if (task["task_id"], task["map_index"]) == ("test.restore", 0)]
    assert (restore["state"], restore["try_number"]) == ("success", 2)
    assert set(rough.states(0).values()) == {"success"}
    assert rough.result("document_result", 0)["passed"]


def test_damaged_backup_is_rejected_and_told(rough: Trial, playground: Playground) -> None:
    assert rough.state == "failed"
    states = rough.states(1)
    assert (states["restore"], states["document_result"], states["drop_scratch"]) == ("failed", "failed", "success")
    documented = rough.result("document_result", 1, "done")
    assert "is not what was backed up" in documented["in_short"]
    assert b"FAILED at restore" in stored(playground, documented["report"])
    backup_id = rough.result("choose_backup", 1)["backup_id"]
    assert playground.evidence("vault_phrase", backup_id, "rejected-")["depth"] == "restore"
    [text] = rough.told
    assert "Restore test failed for vault_phrase" in text.splitlines()[0]
    assert text.index("*vault_phrase*") < text.index("*shop*")
    assert "What to do:" in text


def test_rough_run_leaves_no_scratch(rough: Trial, playground: Playground) -> None:
    assert scratches(playground) == []


def test_mongodb_is_tested_in_the_same_way(rough_night: Run, playground: Playground) -> None:
    trial = run_restore_test(playground, sources=["reviews"], repository="primary")
    assert trial.state == "success"
    documented = trial.result("document_result", 0)
    report = report_of(playground, documented)
    assert {row[0]: row[1] for row in rows_of(report, "Proof")} == REVIEWS
    assert {row[0]: row[2] for row in rows_of(report, "Rows then and now")} == REVIEWS
    assert {"restore: data", "restore: indexes", "prove"} <= report.phases.keys()
    assert playground.evidence("reviews", report.backup_id, "restored-")["rto_seconds"] > 0
    with MongoClient[dict[str, Any]](playground.stack.mongo.uri) as client:
        assert client.list_database_names() == ["reviews"]


def test_graph_shows_every_step(browser: webdriver.Chrome, playground: Playground, good: Trial) -> None:
    steps = [*STEPS, "document_result", "drop_scratch", "announce_result"]
    show_graph(browser, run_page(playground.airflow.url, DAG_ID, good.run_id), steps, f"{DAG_ID}.png")


def test_form_has_titles(browser: webdriver.Chrome, playground: Playground) -> None:
    browser.get(f"{playground.airflow.url}/dags/{DAG_ID}")
    click(browser, "[data-testid='trigger-dag-button']")
    wait_for_texts(browser, "[role='dialog']", ["Sources", "Backup", "Repository"])
