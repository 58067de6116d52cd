"""A full restore, while the shop serves: into a new database, and to production, which the copy replaces; by REST."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from backup_playbook.core.report import Report
from embedded.slack_server import render
from tests.e2e.playground import Playground, Run
from tests.e2e.test_monthly_restore_test import scratches, stored
from tests.e2e.test_recover_corrupted_database import Answered, answer, health

DAG_ID = "restore_database"
NEW = "shop_to_look_at"
LATE = "written after the backup"


def flags(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM feature_flags")}


def restore(playground: Playground, **params: Any) -> Answered:
    """One that asks nobody."""
    client, before = playground.client, len(playground.stack.slack.messages())
    client.unpause(DAG_ID)
    run_id = client.trigger(DAG_ID, {"source": "shop", **params})
    state = client.wait_for_run(DAG_ID, run_id, seconds=400)
    told = [render(message) for message in playground.stack.slack.messages()[before:]]
    return Answered(client, DAG_ID, run_id, state, client.xcom(DAG_ID, run_id, "plan_restore", key="plan"), told)


@pytest.fixture(scope="module")
def copied(playground: Playground, next_night: Run) -> Iterator[Answered]:
    yield restore(playground, target="new_database", database=NEW)
    playground.stack.staging.drop_database(NEW)


@pytest.fixture(scope="module")
def part(playground: Playground, next_night: Run) -> Iterator[Answered]:
    run = restore(playground, target="staging", only=["public.orders"])
    yield run
    playground.stack.staging.drop_database(run.result("staging.keep_copy"))


@pytest.fixture(scope="module")
def replaced(next_night: Run, playground: Playground) -> Answered:
    with psycopg.connect(playground.stack.shop_dsn) as connection:
        connection.execute("INSERT INTO feature_flags (name) VALUES (%s)", [LATE])
    return answer(playground, DAG_ID, "Approve", source="shop", target="production")


def test_copy_stays_under_its_name(copied: Answered, playground: Playground) -> None:
    assert copied.state == "success"
    assert flags(playground.stack.staging.dsn(NEW))
    assert scratches(playground) == []


def test_graph_shows_the_way_that_it_went(copied: Answered) -> None:
    states = copied.states
    gone = {step for step, state in states.items() if state == "skipped"}
    assert {step for step, state in states.items() if state != "success"} == gone
    assert {"present_plan", "approve_plan", "create_scratch", "promote_copy", "switch_maintenance_off"} <= gone
    assert not {step for step in gone if step.startswith("staging.")}


def test_plan_and_message_say_how_to_undo_it(copied: Answered) -> None:
    undo = f'DROP DATABASE "{NEW}" WITH (FORCE);'
    assert undo in copied.plan
    [text] = [text for text in copied.told if f"shop was restored as {NEW} on staging" in text]
    assert undo in text


def report_of(run: Answered, playground: Playground) -> Report:
    address = run.result("document_restore")["report"]
    return Report.model_validate_json(stored(playground, address.removesuffix("md") + "json"))


def test_report_of_the_copy(copied: Answered, playground: Playground) -> None:
    report = report_of(copied, playground)
    assert (report.headline, report.passed) == (f"shop was restored as {NEW} on staging", True)
    assert report.facts["stays as"] == f"`{NEW}`"
    assert report.undo == f'`DROP DATABASE "{NEW}" WITH (FORCE);`'
    assert report.details["checks"]
    assert all(check["ok"] for check in report.details["checks"])
    assert playground.catalog("shop", report.backup_id)


def test_part_on_staging(part: Answered, playground: Playground) -> None:
    """Orders refer to users, whose rows are not there."""
    assert part.state == "success"
    assert {step for step, state in part.states.items() if step.startswith("staging.") and state == "skipped"} == {
        "staging.run_application_checks"
    }
    with psycopg.connect(playground.stack.staging.dsn(part.result("staging.keep_copy"))) as connection:
        query = "SELECT (SELECT count(*) FROM orders) > 0, (SELECT count(*) FROM users)"
        assert connection.execute(query).fetchall() == [(True, 0)]
    broken = "the foreign key orders_user_id_fkey of public.orders"
    assert broken in part.plan
    [text] = [text for text in part.told if "shop was restored as shop__restored_" in text]
    assert broken in text
    report = report_of(part, playground)
    assert [row[0] for table in report.tables if table.title == "Proof" for row in table.rows] == ["public.orders"]
    assert broken in report.facts["not in the copy"]


def test_production_is_replaced_after_approval(replaced: Answered, playground: Playground) -> None:
    assert replaced.state == "success"
    assert "What staging has shown" in replaced.plan
    assert LATE not in flags(playground.stack.shop_dsn)
    assert health(playground) == 200
    assert scratches(playground) == []
    assert replaced.states["staging.keep_copy"] == "skipped"


def test_report_of_the_replacement(replaced: Answered, playground: Playground) -> None:
    report = report_of(replaced, playground)
    assert (report.headline, report.failed_step) == (f"shop was recovered from {report.backup_id}", "")
    assert report.approved_by
    assert any(phase.startswith("staging, ") for phase in report.phases)
    quarantine = report.details["handoff"]["replacing"]["quarantine"]
    assert quarantine in report.undo
    with playground.stack.shop.connect() as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", [quarantine]).fetchall()
