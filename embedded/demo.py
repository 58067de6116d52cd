"""`make demo`: a real Airflow backs up real databases, restores them elsewhere and proves them equal, while you watch.

It backs up a folder of files too, loses a file and a document, and brings them back. DEMO_EXIT=1 ends it after
these runs instead of waiting for Ctrl-C; the exit code is 1 when one is not green.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from types import FrameType
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from embedded import mongo
from embedded.airflow import AirflowServer
from embedded.airflow_client import AirflowClient, Json
from embedded.errors import EmbeddedError
from embedded.sample import configure, load_reviews_and_uploads
from embedded.slack_server import render
from embedded.stack import DEFAULT_DIRECTORY, REVIEWS_DATABASE, Stack
from include.sample import load

SHOP_SCALE = 0.05  # about 65 MB
UPLOAD = "inbox/Müller & Söhne.pdf"
LOG_LINES_OF_A_FAILED_TASK = 30


class Progress:
    """Prints a line whenever a task of the run changes its state."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seen: dict[str, str] = {}

    def say(self, message: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {message}", flush=True)

    def watch(self, tasks: list[Json]) -> None:
        for task in sorted(tasks, key=lambda task: (task["start_date"] or "9999", task["id"])):
            state = str(task["state"] or "waiting")
            if self._seen.get(task["id"], "waiting") != state:
                self._seen[task["id"]] = state
                self.say(f"{task_name(task):<48} {state}{duration(task)}")


def task_name(task: Json) -> str:
    source = task["rendered_map_index"]
    return f"{task['task_id']} [{source}]" if source else str(task["task_id"])


def duration(task: Json) -> str:
    seconds = task["duration"]
    return f" after {seconds:.1f} s" if seconds and task["end_date"] else ""


def load_shop(stack: Stack) -> None:
    """Loads the sample once. What a killed load left behind is removed first."""
    marker = stack.directory / "shop.loaded"
    if marker.exists():
        return
    stack.reset_shop()
    load(stack.shop_dsn, SHOP_SCALE)
    marker.touch()


def start(directory: Path, progress: Progress) -> tuple[Stack, AirflowServer]:
    progress.say("starting two Postgres servers, MongoDB, two S3 servers and a receiver that plays Slack")
    stack = Stack(directory).start()
    environment = {**stack.environment(), "BACKUP_PLAYBOOK_CONFIG": str(configure(stack, directory / "config"))}
    if not stack.has_mongo:
        progress.say(f"going on without a MongoDB: {mongo.missing()}")
    progress.say("starting Airflow, and loading the sample shop meanwhile")
    airflow = AirflowServer(directory / "airflow", environment)
    with ThreadPoolExecutor() as executor:
        started = executor.submit(airflow.start)
        load_shop(stack)
        load_reviews_and_uploads(stack)
        started.result()
    progress.say(f"Airflow is ready at {airflow.url}")
    return stack, airflow


def run_dag(client: AirflowClient, progress: Progress, dag_id: str, tell: Callable[[list[Json]], None]) -> bool:
    """Whether the run is green; `tell` prints what announce_result returned."""
    client.unpause(dag_id)
    run_id = client.trigger(dag_id)
    progress.say(f"triggered {dag_id}")
    state = client.wait_for_run(dag_id, run_id, watch=progress.watch)
    progress.say(f"{dag_id}: {state}")
    if state == "success":
        tell(client.xcom(dag_id, run_id, "announce_result"))
    else:
        print_failures(client, dag_id, run_id)
    print(f"\nThe run: {client.run_url(dag_id, run_id)}\n")
    return state == "success"


def print_backups(backups: list[Json]) -> None:
    print("\nWhat was backed up, and then read back from the bucket and compared with the source's own bytes:")
    for backup in backups:
        depths = ", ".join(f"{repository} ({depth})" for repository, depth in backup["verified"].items())
        print(f"  {backup['source']} {backup['backup_id']}")
        print(f"    {backup['summary']}")
        print(f"    saved in {backup['seconds']} s; verified in {depths}")


def print_tests(tests: list[Json]) -> None:
    print("\nWhat was restored into a database of its own, and proven equal:")
    for test in tests:
        print(f"  {test['source']} {test['in_short']}\n    the report: {test['report']}")


def lose_a_file(stack: Stack, client: AirflowClient, progress: Progress) -> bool:
    """Delete an uploaded file, and bring it back. Whether it is what it was."""
    file = stack.uploads / UPLOAD
    content = file.read_bytes()
    file.unlink()
    form = {"source": "uploads", "path": UPLOAD, "destination": "in_place"}
    url = recover(client, progress, "restore_files", form, f"the upload {UPLOAD}")
    back = file.exists() and file.read_bytes() == content
    progress.say(f"{UPLOAD} is {'back, byte for byte' if back else 'NOT back'}: {url}\n")
    return back


def lose_a_document(stack: Stack, client: AirflowClient, progress: Progress) -> bool:
    """The same with a review."""
    with MongoClient[RawBSONDocument](stack.mongo.uri, document_class=RawBSONDocument) as server:
        reviews = server[REVIEWS_DATABASE]["reviews"]
        document = reviews.find_one_and_delete({})
        assert document
        form = {"source": "reviews", "collection": "reviews", "ids": [str(document["_id"])]}
        url = recover(client, progress, "recover_deleted_documents", form, f"the review {document['_id']}")
        back = reviews.find_one({"_id": document["_id"]}) == document
    progress.say(f"the review is {'back, byte for byte' if back else 'NOT back'}: {url}\n")
    return back


def recover(client: AirflowClient, progress: Progress, dag_id: str, form: Json, what: str) -> str:
    """As a person does by REST: fill in the form, read the plan, approve it. Returns the address of the run."""
    client.unpause(dag_id)
    run_id = client.trigger(dag_id, form)
    progress.say(f"deleted {what}; triggered {dag_id}")
    client.answer(client.question(dag_id, run_id), "Approve")
    if client.wait_for_run(dag_id, run_id, watch=progress.watch) != "success":
        print_failures(client, dag_id, run_id)
    return client.run_url(dag_id, run_id)


def print_failures(client: AirflowClient, dag_id: str, run_id: str) -> None:
    for task in client.task_instances(dag_id, run_id):
        if task["state"] == "failed":
            log = client.log(dag_id, run_id, task["task_id"], task["map_index"], task["try_number"])
            print(f"\n{task_name(task)} failed. The end of its log:")
            print("\n".join(log.splitlines()[-LOG_LINES_OF_A_FAILED_TASK:]))


def print_messages(messages: list[dict[str, Any]]) -> None:
    print("\nWhat Slack got:")
    for message in messages:
        print("  | " + unescape(render(message)).replace("\n", "\n  | ") + "\n")


def run(directory: Path) -> int:
    progress = Progress()
    stack = Stack(directory)
    airflow = None
    try:
        stack, airflow = start(directory, progress)
        before = len(stack.slack.messages())
        client = airflow.client
        green = (
            run_dag(client, progress, "nightly_database_backup", print_backups)
            and run_dag(client, progress, "monthly_restore_test", print_tests)
            and run_dag(client, progress, "nightly_file_backup", print_backups)
            and lose_a_file(stack, client, progress)
            and (not stack.has_mongo or lose_a_document(stack, client, progress))
        )
        print_messages(stack.slack.messages()[before:])
        if os.environ.get("DEMO_EXIT") != "1":
            wait_for_ctrl_c(stack, airflow, directory)
        return 0 if green else 1
    finally:
        print("stopping all servers", flush=True)
        AirflowServer(directory / "airflow", {}).stop()
        stack.stop()


def wait_for_ctrl_c(stack: Stack, airflow: AirflowServer, directory: Path) -> None:
    print(f"Airflow's UI: {airflow.url} (no login: everyone on this machine is an administrator)")
    print(f"Slack's page: {stack.slack.url}")
    print(f"psql:         psql '{stack.shop_dsn}'")
    print(f"Everything is below {directory}. Ctrl-C stops all servers.", flush=True)
    seen = len(stack.slack.messages())
    while True:
        time.sleep(1)
        messages = stack.slack.messages()
        if messages[seen:]:
            print_messages(messages[seen:])
            seen = len(messages)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, interrupt)  # so that `kill` stops the servers too
    try:
        return run(DEFAULT_DIRECTORY)
    except EmbeddedError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
