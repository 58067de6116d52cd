"""A corrupted database, while the shop serves its users: rejected, approved, recovered, rolled back; by REST."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import requests
from selenium import webdriver

from backup_playbook.core.report import Report
from embedded.airflow_client import AirflowClient, Json
from embedded.slack_server import render
from tests.e2e.browser import run_page, show_form, show_graph, show_question
from tests.e2e.playground import Playground, Run

DAG_ID = "recover_corrupted_database"
TABLE = "order_items"


@dataclass(frozen=True)
class Answered:
    """A run whose plan was answered. plan: what the person read."""

    client: AirflowClient
    dag_id: str
    run_id: str
    state: str
    plan: str
    told: list[str]

    @property
    def states(self) -> dict[str, str]:
        return {task["task_id"]: task["state"] for task in self.client.task_instances(self.dag_id, self.run_id)}

    def result(self, step: str) -> Any:
        return self.client.xcom(self.dag_id, self.run_id, step)


def ask(playground: Playground, dag_id: str, **params: Any) -> tuple[str, Json]:
    """Trigger it, and wait until it asks; its run and what Airflow knows of the question."""
    client = playground.client
    client.unpause(dag_id)
    run_id = client.trigger(dag_id, params)
    return run_id, client.question(dag_id, run_id)


def respond(playground: Playground, asked: Json, option: str) -> str:
    """The state in which the run ends."""
    playground.client.answer(asked, option)
    dag_id, run_id = (asked["task_instance"][key] for key in ("dag_id", "dag_run_id"))
    return playground.client.wait_for_run(dag_id, run_id, seconds=300)


def answer(playground: Playground, dag_id: str, option: str, **params: Any) -> Answered:
    """Trigger it, read its plan, and answer. option: empty for the first that is offered."""
    before = len(playground.stack.slack.messages())
    run_id, asked = ask(playground, dag_id, **params)
    state = respond(playground, asked, option or asked["options"][0])
    told = [render(message) for message in playground.stack.slack.messages()[before:]]
    return Answered(playground.client, dag_id, run_id, state, asked["body"], told)


def rows(playground: Playground) -> int:
    with psycopg.connect(playground.stack.shop_dsn) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {TABLE}").fetchall()[0][0])


def health(playground: Playground) -> int:
    url = f"http://127.0.0.1:{playground.application.server_port}/api/health"
    return requests.get(url, timeout=10).status_code


@pytest.fixture(scope="module")
def intact(playground: Playground, next_night: Run) -> int:
    """Rows of the table that is going to be corrupted."""
    return rows(playground)


@pytest.fixture(scope="module")
def rejected(intact: int, playground: Playground) -> Answered:
    with psycopg.connect(playground.stack.shop_dsn) as connection:
        connection.execute(f"DELETE FROM {TABLE}")
    return answer(playground, DAG_ID, "Reject", source="shop", corruption_time=datetime.now(UTC).isoformat())


@pytest.fixture(scope="module")
def recovered(rejected: Answered, playground: Playground) -> Answered:
    """Nobody knows since when: a person chooses."""
    return answer(playground, DAG_ID, "", source="shop")


@pytest.fixture(scope="module")
def rolled_back(recovered: Answered, playground: Playground) -> Iterator[Answered]:
    """And forth again at the end: what others look at is the recovered shop."""
    yield answer(playground, "rollback_promotion", "Approve", source="shop")
    answer(playground, "rollback_promotion", "Approve", source="shop")


def test_rejected_plan_touches_nothing_and_is_reported(rejected: Answered, playground: Playground) -> None:
    steps = rejected.states
    done = ("choose_backup", "plan_recovery", "approve_plan", "document_recovery")
    assert {steps.pop(step) for step in done} == {"success"}
    assert set(steps.values()) == {"skipped"}
    report = report_of(rejected, playground)
    assert report.headline.startswith("Recovery of shop was rejected by ")
    assert (report.passed, report.undo) == (True, "")


def test_plan_names_what_is_lost_and_how_to_undo(rejected: Answered, intact: int) -> None:
    assert f"| public.{TABLE} | {intact:,} | 0 |" in rejected.plan
    assert "rollback_promotion" in rejected.plan
    assert any("waits for approval" in text for text in rejected.told)


@pytest.fixture
def impatience(playground: Playground) -> Iterator[None]:
    file = playground.config / "policies.yaml"
    text = file.read_text()
    file.write_text(text.replace("approval_timeout: 4h", "approval_timeout: 1s"))
    yield
    file.write_text(text)


@pytest.mark.usefixtures("rejected", "impatience")
def test_plan_that_nobody_approves_in_time_touches_nothing(playground: Playground) -> None:
    client, before = playground.client, len(playground.stack.slack.messages())
    run_id = client.trigger(DAG_ID, {"source": "shop"})
    assert client.wait_for_run(DAG_ID, run_id, seconds=180) == "failed"
    assert "nobody has approved it within 1 s. Nothing was touched." in client.log(DAG_ID, run_id, "approve_plan")
    states = {task["task_id"]: task["state"] for task in client.task_instances(DAG_ID, run_id)}
    assert (states["create_scratch"], states["switch_maintenance_on"]) == ("upstream_failed", "upstream_failed")
    told = [render(message) for message in playground.stack.slack.messages()[before:]]
    assert any("production is what it was" in text and "nobody has approved it" in text for text in told)


@pytest.mark.usefixtures("rejected")
def test_pages_before_the_recovery(browser: webdriver.Chrome, playground: Playground) -> None:
    show_form(browser, playground.airflow.url, DAG_ID, ["When was it corrupted?", "Allow an unverified backup"])
    run_id, asked = ask(playground, DAG_ID, source="shop")
    show_question(browser, run_page(playground.airflow.url, DAG_ID, run_id), DAG_ID, ["Backups, newest first", TABLE])
    assert len(asked["options"]) > 1
    respond(playground, asked, "Reject")


def test_graph_of_the_recovery(browser: webdriver.Chrome, recovered: Answered, playground: Playground) -> None:
    page = run_page(playground.airflow.url, DAG_ID, recovered.run_id)
    show_graph(browser, page, ["approve_plan", "promote_copy", "document_recovery"], f"{DAG_ID}.png", grouped=False)


def test_page_of_the_choice_shows_what_is_in_the_backups(recovered: Answered, intact: int) -> None:
    assert f"| public.{TABLE} | 0 | {intact:,} |" in recovered.plan
    assert "| Restore 20" in recovered.plan


def test_recovered_database_is_served(recovered: Answered, intact: int, playground: Playground) -> None:
    assert recovered.state == "success"
    report = report_of(recovered, playground)
    assert (report.headline, report.failed_step) == (f"shop was recovered from {report.backup_id}", "")
    assert report.approved_by.endswith(f"who chose: Restore {report.backup_id}")
    assert report.details["handoff"]["replacing"]["exchanged"]["unreachable_seconds"] < 2
    assert report.facts["maintenance mode"]
    [table] = report.tables
    # the shop's triggers write down what is deleted
    assert {row[0] for row in table.rows} == {"public.audit_log", f"public.{TABLE}"}
    assert (f"public.{TABLE}", "0", f"{intact:,}") in table.rows


def report_of(run: Answered, playground: Playground) -> Report:
    address = run.result("document_recovery")["report"]
    bucket, _, key = address.removeprefix("s3://").partition("/")
    stored = playground.stack.s3_primary.client().get_object(Bucket=bucket, Key=key.removesuffix("md") + "json")
    return Report.model_validate_json(stored["Body"].read())


def test_recovery_is_told_with_the_way_back(recovered: Answered) -> None:
    [text] = [text for text in recovered.told if "was recovered from" in text]
    assert "rollback_promotion" in text
    assert "s3://" in text


def test_quarantine_is_not_released_before_a_newer_backup_is_proven(
    recovered: Answered, playground: Playground
) -> None:
    client = playground.client
    client.unpause("release_quarantine")
    run_id = client.trigger("release_quarantine", {"source": "shop"})
    assert client.wait_for_run("release_quarantine", run_id, seconds=120) == "failed"
    assert "is kept: no backup of shop" in client.log("release_quarantine", run_id, "plan_release")


def test_rolled_back_database_is_the_corrupted_one(
    rolled_back: Answered, recovered: Answered, playground: Playground
) -> None:
    assert rolled_back.state == "success"
    assert rows(playground) == 0
    assert health(playground) == 200


def test_drill_without_a_person_is_refused(recovered: Answered, playground: Playground) -> None:
    client = playground.client
    run_id = client.trigger(DAG_ID, {"source": "shop", "drill": True})
    assert client.wait_for_run(DAG_ID, run_id, seconds=120) == "failed"
    assert "drills without a person are not allowed" in client.log(DAG_ID, run_id, "approve_plan")
