"""Files by REST: backed up, lost, approved by a person, and brought back."""

import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver

from embedded.slack_server import render
from tests.e2e.browser import run_page, show_form, show_question
from tests.e2e.conftest import FILE_DAG_ID
from tests.e2e.playground import Playground
from tests.e2e.test_recover_corrupted_database import answer, ask, respond
from tests.integration.files.lab import state

FILE = "pictures/0/0007.jpg"


def run(playground: Playground, dag_id: str, **params: Any) -> str:
    """Of one that succeeds: its id."""
    playground.client.unpause(dag_id)
    run_id = playground.client.trigger(dag_id, params)
    assert playground.client.wait_for_run(dag_id, run_id, seconds=300) == "success"
    return run_id


def backup_of(playground: Playground, file_night: str) -> str:
    return str(playground.client.xcom(FILE_DAG_ID, file_night, "protect.seal", 0)["backup_id"])


def test_files_are_backed_up_lost_and_brought_back(playground: Playground, file_night: str) -> None:
    client, uploads, before = playground.client, playground.stack.uploads, state(playground.stack.uploads)
    backup_id = backup_of(playground, file_night)
    content = (uploads / FILE).read_bytes()

    shutil.rmtree(uploads / "pictures")
    lost = answer(playground, FILE_DAG_ID, "Approve")
    assert "300 of 325 files (92%) are lost" in lost.plan
    assert lost.state == "success"
    assert any("gone, rewritten or unreadable; the backup waits for approval" in text for text in lost.told)

    listing = run(playground, "list_file_versions", source="uploads", path=FILE)
    found = client.xcom("list_file_versions", listing, "list_versions")
    assert [version["deleted"] for version in found] == [True, False]

    one = run(playground, "restore_files", source="uploads", path=FILE, version=found[1]["version"])
    root = Path(client.xcom("restore_files", one, "restore", key="facts")["root"])
    assert (root / FILE).read_bytes() == content

    back = answer(playground, "restore_files", "Approve", source="uploads", backup=backup_id, destination="in_place")
    assert "300 files (3.0 MB) missing, 0 replaced, 0 newer" in back.plan
    assert back.state == "success"
    assert state(uploads) == before
    assert any("are back and proven equal" in text for text in back.told)


def test_backup_of_files_is_told(playground: Playground, file_night: str) -> None:
    told = [render(message) for message in playground.stack.slack.messages()]
    assert any(text.startswith("*:white_check_mark: uploads is backed up and verified") for text in told)


def test_pages_of_a_restore(browser: webdriver.Chrome, playground: Playground, file_night: str) -> None:
    dag_id, uploads = "restore_files", playground.stack.uploads
    (uploads / "invoices").rename(uploads / "elsewhere")
    (uploads / FILE).rename(uploads / "kept.jpg")
    (uploads / FILE).write_bytes(b"written over")
    try:
        show_form(browser, playground.airflow.url, dag_id, ["When were they lost?", "Destination", "Overwrite newer"])
        form = {"source": "uploads", "backup": backup_of(playground, file_night), "destination": "in_place"}
        run_id, asked = ask(playground, dag_id, **form, overwrite_newer=True)
        page = run_page(playground.airflow.url, dag_id, run_id)
        show_question(browser, page, dag_id, ["are missing and come back", "they are replaced", FILE])
        respond(playground, asked, "Reject")
    finally:
        (uploads / "kept.jpg").replace(uploads / FILE)
        (uploads / "elsewhere").rename(uploads / "invoices")
