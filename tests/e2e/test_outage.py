"""The primary repositories' server is gone: everything else works from the off-site ones, by forms as they open.

And when it is back, the next night makes the two equal again. The DAGs run in one process, without a scheduler.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from pymongo import MongoClient

from embedded.s3 import S3Gateway
from embedded.sample import configure, load_reviews_and_uploads
from embedded.slack_server import render
from embedded.stack import FILES_OFFSITE_BUCKET, OFFSITE_BUCKET, PRIMARY_BUCKET, REVIEWS_DATABASE, Stack
from include.sample import load
from tests.e2e.dag_runs import DagRun, DagRuns

USER = 7
DATABASES = ("shop", "reviews")


@dataclass
class Outage:
    """What became of each DAG, and what Slack got of it. named: of runs of the same DAG."""

    stack: Stack
    backups: dict[str, str]
    """By source, the id."""
    runs: dict[str, DagRun] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)

    def run(self, dags: DagRuns, dag_id: str, named: str = "", **conf: Any) -> DagRun:
        before = len(self.stack.slack.messages())
        self.runs[named or dag_id] = run = dags.run(dag_id, **conf)
        self.told[named or dag_id] = [render(message) for message in self.stack.slack.messages()[before:]]
        return run


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    """A night, the outage with all that is done in it, and the night after it."""
    directory = tmp_path_factory.mktemp("outage")
    stack = Stack(directory / "stack")
    try:
        stack.start()
        load(stack.shop_dsn, 0.0005)
        load_reviews_and_uploads(stack)
        environment = {**stack.environment(), "BACKUP_PLAYBOOK_CONFIG": str(_config(stack, directory))}
        with DagRuns(directory / "airflow", environment) as dags:
            nights = [dags.run("nightly_database_backup", sources=DATABASES), dags.run("nightly_file_backup")]
            assert [night.state for night in nights] == ["success"] * 2, nights[0].log[-3000:]
            taken = [one for night in nights for one in night.left["announce_result"]]
            outage = Outage(stack, {one["source"]: one["backup_id"] for one in taken})
            stack.s3_primary.stop()
            _work(outage, dags)
            stack.s3_primary.start()
            outage.run(dags, "nightly_database_backup", sources=DATABASES)
        yield outage
    finally:
        stack.remove()


def _config(stack: Stack, directory: Path) -> Path:
    """The demo's; with an off-site copy of each source, and people are not asked."""
    folder = configure(stack, directory / "config")
    for name, change in (
        ("sources", lambda found: found["sources"]["reviews"].update(offsite=["offsite"])),
        ("policies", lambda found: found["recovery"].update(unattended_drills=True)),
    ):
        file = folder / f"{name}.yaml"
        document = yaml.safe_load(file.read_text())
        change(document)
        file.write_text(yaml.safe_dump(document))
    return folder


def _work(outage: Outage, dags: DagRuns) -> None:
    stack = outage.stack
    with psycopg.connect(stack.shop_dsn) as shop:
        shop.execute("DELETE FROM users WHERE id = %s", [USER])
    with MongoClient[dict[str, Any]](stack.mongo.uri) as client:
        reviews = client[REVIEWS_DATABASE]["reviews"]
        lost = reviews.find_one_and_delete({})["_id"]
    outage.run(dags, "list_recovery_points")
    outage.run(dags, "list_backup_contents", source="shop", table="users", keys=[str(USER)])
    outage.run(dags, "list_file_versions", source="uploads", path="inbox/")
    outage.run(dags, "recover_deleted_rows", source="shop", table="users", keys=[str(USER)], drill=True)
    outage.run(dags, "recover_deleted_documents", source="reviews", collection="reviews", ids=[str(lost)], drill=True)
    outage.run(dags, "monthly_restore_test", sources=DATABASES)
    outage.run(
        dags, "recover_corrupted_database", source="shop", backup="latest_proven", drill=True,
        corruption_time=datetime.now(UTC).isoformat(),
    )  # fmt: skip
    for source in DATABASES:
        form = {"source": source, "target": "new_database", "database": f"{source}_copy"}
        outage.run(dags, "restore_database", named=f"restore of {source}", **form)
    outage.run(dags, "restore_files", source="uploads")
    outage.run(dags, "daily_backup_verification")


def stored(gateway: S3Gateway, address: str) -> str:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return gateway.client().get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def evidence(gateway: S3Gateway, bucket: str, source: str, backup_id: str, kind: str) -> list[str]:
    prefix = f"playbook/catalog/{source}/{backup_id}/{kind}-"
    return [one["Key"] for one in gateway.client().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


@pytest.mark.parametrize(
    ("run_of", "step", "imported"),
    [
        ("recover_deleted_rows", "document_result", "import_rows"),
        ("recover_deleted_documents", "document_result", "import_documents"),
        ("recover_corrupted_database", "document_recovery", ""),
        ("restore of shop", "document_restore", ""),
        ("restore of reviews", "document_restore", ""),
        ("restore_files", "report_result", ""),
    ],
)
def test_recovery_is_done_and_what_it_leaves_is_offsite(outage: Outage, run_of: str, step: str, imported: str) -> None:
    run = outage.runs[run_of]
    assert run.state == "success", run.log[-5000:]
    assert stored(outage.stack.s3_offsite, run.left[step]["report"])
    assert not imported or stored(outage.stack.s3_offsite, run.left[imported]["undo"])
    [text] = [text for text in outage.told[run_of] if text.startswith("*:white_check_mark:")]
    assert run.left[step]["report"] in text


def test_plan_says_why_another_repository_is_read(outage: Outage) -> None:
    assert "Read from offsite, and not from primary: Cannot list" in outage.runs["recover_corrupted_database"].log
    report = outage.runs["monthly_restore_test"].left["announce_result"][0]["report"]
    assert "Read from offsite, and not from primary: Cannot list" in stored(outage.stack.s3_offsite, report)


def test_monthly_test_proves_the_offsite_copies(outage: Outage) -> None:
    run = outage.runs["monthly_restore_test"]
    assert (run.state, [one["passed"] for one in run.left["announce_result"]]) == ("success", [True, True])
    assert "primary does not know of this proof" in outage.told["monthly_restore_test"][0]
    for source in DATABASES:
        assert evidence(outage.stack.s3_offsite, OFFSITE_BUCKET, source, outage.backups[source], "restored")
    [proof] = evidence(outage.stack.s3_offsite, FILES_OFFSITE_BUCKET, "uploads", outage.backups["uploads"], "restored")
    assert "files_offsite" in proof


def test_what_was_lost_is_back(outage: Outage) -> None:
    with psycopg.connect(outage.stack.shop_dsn) as shop:
        assert shop.execute("SELECT 1 FROM users WHERE id = %s", [USER]).fetchone()
    with MongoClient[dict[str, Any]](outage.stack.mongo.uri) as client:
        assert client[REVIEWS_DATABASE]["reviews"].count_documents({}) == 20_000


@pytest.mark.parametrize("dag_id", ["list_recovery_points", "list_backup_contents", "list_file_versions"])
def test_lists_are_read_offsite(outage: Outage, dag_id: str) -> None:
    assert outage.runs[dag_id].state == "success", outage.runs[dag_id].log[-5000:]


def test_daily_verification_tells_each_repository_once_and_what_can_be_restored(outage: Outage) -> None:
    run, told = outage.runs["daily_backup_verification"], outage.told["daily_backup_verification"]
    assert run.tasks["report_findings"] == "failed"
    assert [text.splitlines()[0].split(": Cannot")[0] for text in told] == [
        "<!channel> *:rotating_light: reviews, shop",
        "<!channel> *:rotating_light: uploads",
    ]
    for source in DATABASES:
        assert f"*{source}*: Its last good backup that can be read, in offsite, is {outage.backups[source]}" in told[0]


def test_next_night_makes_them_equal_again(outage: Outage) -> None:
    run = outage.runs["nightly_database_backup"]
    assert run.state == "success", run.log[-5000:]
    for source in DATABASES:
        proofs = [
            [key.rpartition("/")[2] for key in evidence(gateway, bucket, source, outage.backups[source], "restored")]
            for gateway, bucket in (
                (outage.stack.s3_primary, PRIMARY_BUCKET),
                (outage.stack.s3_offsite, OFFSITE_BUCKET),
            )
        ]
        assert proofs[0] == proofs[1]
