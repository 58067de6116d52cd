"""A deleted user, while the shop serves: rejected, approved, back with all orders, and taken back; by REST."""

import json
import os
import subprocess
from pathlib import Path

import psycopg
import pytest
import requests
from psycopg.conninfo import conninfo_to_dict
from selenium import webdriver

from embedded.stack import PRIMARY_BUCKET
from tests.e2e.browser import run_page, show_form, show_graph, show_question
from tests.e2e.playground import Playground, Run
from tests.e2e.test_monthly_restore_test import scratches, stored
from tests.e2e.test_recover_corrupted_database import Answered, answer, ask, respond

DAG_ID = "recover_deleted_rows"
USER = 7


def shown(playground: Playground) -> tuple[int, int | None]:
    """Status of the user's page, and the orders on it."""
    url = f"http://127.0.0.1:{playground.application.server_port}/users/{USER}"
    found = requests.get(url, timeout=10)
    return found.status_code, found.json().get("orders")


@pytest.fixture(scope="module")
def orders(playground: Playground, next_night: Run) -> int | None:
    """How many the user had, who is gone now."""
    before = shown(playground)
    assert before[0] == 200
    with psycopg.connect(playground.stack.shop_dsn) as connection:
        connection.execute("DELETE FROM users WHERE id = %s", [USER])
    assert shown(playground)[0] == 404
    return before[1]


@pytest.fixture(scope="module")
def rejected(playground: Playground, orders: int | None) -> Answered:
    return answer(playground, DAG_ID, "Reject", source="shop", table="users", keys=[str(USER)])


@pytest.fixture(scope="module")
def approved(playground: Playground, rejected: Answered) -> Answered:
    return answer(playground, DAG_ID, "Approve", source="shop", table="users", keys=[str(USER)])


def test_rejected_touches_nothing(rejected: Answered, playground: Playground) -> None:
    assert (rejected.states["import_rows"], rejected.states["drop_scratch"]) == ("skipped", "success")
    assert scratches(playground) == []
    report = stored(playground, rejected.result("document_result")["report"])
    assert b"# Recovery of rows of shop was rejected by " in report


@pytest.mark.usefixtures("rejected")
def test_pages_before_the_recovery(browser: webdriver.Chrome, playground: Playground) -> None:
    show_form(browser, playground.airflow.url, DAG_ID, ["Table", "Keys", "On conflict"])
    run_id, asked = ask(playground, DAG_ID, source="shop", table="users", keys=[str(USER)])
    show_question(browser, run_page(playground.airflow.url, DAG_ID, run_id), DAG_ID, ["public.users", "missing"])
    respond(playground, asked, "Reject")


def test_graph_of_the_recovery(browser: webdriver.Chrome, approved: Answered, playground: Playground) -> None:
    page = run_page(playground.airflow.url, DAG_ID, approved.run_id)
    show_graph(browser, page, ["find_rows", "import_rows", "document_result"], f"{DAG_ID}.png", grouped=False)


def test_person_reads_what_will_be_inserted(approved: Answered) -> None:
    assert "| public.users | 1 |" in approved.plan
    assert "public.orders" in approved.plan
    assert f"| id={USER} | missing |" in approved.plan


def test_user_is_back_with_all_orders(approved: Answered, playground: Playground, orders: int | None) -> None:
    assert approved.state == "success"
    assert shown(playground) == (200, orders)
    assert scratches(playground) == []


def test_report_says_who_approved(approved: Answered, playground: Playground) -> None:
    result = approved.result("document_result")
    report = json.loads(stored(playground, result["report"].removesuffix("md") + "json"))
    assert report["details"]["recovered"]["inserted"]["public.users"] == 1
    assert report["approved_by"] not in ("", "nobody (a drill)")
    assert any("Back in shop: " in text for text in approved.told)


def test_rows_are_in_the_backup(approved: Answered, playground: Playground) -> None:
    playground.client.unpause("list_backup_contents")
    run_id = playground.client.trigger(
        "list_backup_contents", {"source": "shop", "table": "users", "keys": [str(USER)]}
    )
    assert playground.client.wait_for_run("list_backup_contents", run_id, seconds=120) == "success"
    [row] = playground.client.xcom("list_backup_contents", run_id, "list_contents")["rows"]
    assert (row["id"], row["password_hash"]) == (str(USER), "***")


def test_undo_script_takes_them_back(approved: Answered, playground: Playground, tmp_path: Path) -> None:
    script = approved.result("import_rows")["undo"]
    assert script.startswith(f"s3://{PRIMARY_BUCKET}/")
    file = tmp_path / "undo.sql"
    file.write_bytes(stored(playground, script))
    keywords = conninfo_to_dict(playground.stack.shop_dsn)
    environment = {**os.environ, "PGPASSWORD": str(keywords.pop("password"))}
    address = " ".join(f"{key}={value}" for key, value in keywords.items())
    psql = [str(playground.stack.shop.bin_dir / "psql"), "-X", "-q", "-d", address, "-f", str(file)]
    subprocess.run(psql, env=environment, check=True, capture_output=True)
    assert shown(playground)[0] == 404
