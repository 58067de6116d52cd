"""The nightly backup in a real Airflow, against real servers: a good night, a rough one, and the one after it."""

import pytest

from embedded.errors import EmbeddedError
from embedded.slack_server import render
from tests.e2e.conftest import REASON
from tests.e2e.playground import DAG_ID, Playground, Run

ALL_STEPS = {"dump_compress_upload", "verify", "copy_offsite", "verify_offsite", "prune"}


def test_good_night_is_green(good_night: Run) -> None:
    assert good_night.state == "success"
    assert good_night.states("shop") == dict.fromkeys(ALL_STEPS, "success")


def test_grid_names_the_source(good_night: Run) -> None:
    assert {task["rendered_map_index"] for task in good_night.tasks if task["map_index"] == 0} == {"shop"}


def test_backup_and_its_evidence_exist_in_both_repositories(good_night: Run, playground: Playground) -> None:
    backup_id = good_night.backup_id("shop")
    everywhere = {"manifest", "restore", "tiered-yearly", "verified-full"}
    assert kinds(playground.catalog("shop", backup_id)) >= {*everywhere, "copied-offsite"}
    assert kinds(playground.catalog("shop", backup_id, offsite=True)) >= everywhere
    evidence = playground.evidence("shop", backup_id, "verified-")
    assert evidence["rows"] == good_night.result("dump_compress_upload", "shop")["rows"] > 1000


def test_asset_event_carries_the_backup_id(good_night: Run) -> None:
    events = good_night.client.request("GET", "/assets/events", source_run_id=good_night.run_id)["asset_events"]
    assert [(event["uri"], event["extra"]["backup_id"]) for event in events] == [
        ("backup://primary/shop", good_night.backup_id("shop"))
    ]


def test_good_night_is_announced(good_night: Run) -> None:
    [message] = good_night.messages
    text = render(message)
    assert text.startswith("*:white_check_mark: shop is backed up and verified*")
    assert good_night.backup_id("shop") in text
    assert "verified in primary (full); verified in offsite (full)" in text
    assert good_night.client.url in text


def test_unknown_source_is_refused_at_the_form(good_night: Run, playground: Playground) -> None:
    with pytest.raises(EmbeddedError, match=r"400.*shopp"):
        playground.trigger(sources=["shopp"])


def test_one_failing_source_stops_no_other_and_makes_the_run_red(rough_night: Run) -> None:
    assert rough_night.state == "failed"
    assert rough_night.states("shop") == dict.fromkeys(ALL_STEPS, "success")
    for source in ("lost", "locked_out"):
        steps = dict.fromkeys(ALL_STEPS, "upstream_failed") | {"dump_compress_upload": "failed", "prune": "success"}
        assert rough_night.states(source) == steps


def test_killed_task_is_tried_again_with_a_new_backup(rough_night: Run, playground: Playground) -> None:
    [dump] = [task for task in rough_night.tasks if task["task_id"].endswith("upload") and task["map_index"] == 0]
    assert (dump["state"], dump["try_number"]) == ("success", 2)
    listed = playground.stack.s3_primary.client().list_objects_v2(
        Bucket="playbook-backups", Prefix="playbook/objects/shop/", Delimiter="/"
    )
    assert len(listed["CommonPrefixes"]) == 2, "the good night's backup and this one, nothing of the killed one"


@pytest.mark.parametrize(
    ("source", "what", "remedy"),
    [
        ("lost", 'database "lost" does not exist', "Correct the database or user name in the Airflow connection"),
        ("locked_out", "password authentication failed", "Correct login and password in the Airflow connection"),
    ],
)
def test_log_of_a_failed_dump_says_what_to_do(rough_night: Run, source: str, what: str, remedy: str) -> None:
    log = rough_night.log("dump_compress_upload", source)
    assert what in log
    assert f"What to do: {remedy}" in log


def test_announcement_names_what_is_at_risk(rough_night: Run) -> None:
    [message] = rough_night.messages
    lines = render(message).splitlines()
    headline = f"2 of {len(rough_night.sources)} databases are not safely backed up"
    assert lines[0] == f"*:red_circle: {headline}*"
    whys = {"lost": 'database "lost" does not exist', "locked_out": "password authentication failed"}
    for line, (source, why) in zip(lines[1:3], whys.items(), strict=True):
        assert line.startswith(f"*{source}*: *`dump_compress_upload` failed: there is no new backup.* ")
        assert why in line
        assert line.endswith(". It has no verified backup at all.")
    assert any(line.startswith(f"*shop* `{rough_night.backup_id('shop')}`") for line in lines)
    assert any(line.startswith("*What to do:* open the red task") for line in lines)
    log = rough_night.log("announce_result")
    assert f"{headline}. lost: `dump_compress_upload` failed" in log


def test_held_backup_keeps_its_reason(rough_night: Run, playground: Playground) -> None:
    backup_id = rough_night.backup_id("shop")
    held = playground.evidence("shop", backup_id, "held-")
    assert (held["reason"], held["run_id"]) == (REASON, rough_night.run_id)
    assert "held" in kinds(playground.catalog("shop", backup_id, offsite=True))


def test_dry_run_logs_the_plan_and_removes_nothing(rough_night: Run) -> None:
    log = rough_night.log("prune", "shop")
    assert rough_night.backup_id("shop") in log
    assert "Dry run: nothing was removed." in log
    assert rough_night.result("prune", "shop")["primary"] == {"kept": 2, "would_remove": []}


@pytest.mark.parametrize(
    ("source", "depth"), [("vault_sealed", "stored"), ("vault_open", "full"), ("vault_phrase", "full")]
)
def test_encrypted_backup_is_verified_as_far_as_the_worker_can(
    rough_night: Run, playground: Playground, source: str, depth: str
) -> None:
    backup_id = rough_night.backup_id(source)
    assert playground.evidence(source, backup_id, "verified-")["depth"] == depth
    assert ("This worker has no private key" in rough_night.log("verify", source)) == (depth == "stored")
    listed = playground.stack.s3_primary.client().list_objects_v2(
        Bucket="playbook-backups", Prefix=f"playbook/objects/{source}/{backup_id}/"
    )
    assert {item["Key"].endswith(".zst.gpg") for item in listed["Contents"]} == {True}


def test_source_without_an_offsite_repository_skips_the_copy_and_is_green(rough_night: Run) -> None:
    states = rough_night.states("vault_open")
    assert (states["verify"], states["copy_offsite"], states["verify_offsite"]) == ("success", "skipped", "skipped")


def test_next_night_converges_although_slack_is_down(next_night: Run) -> None:
    assert next_night.state == "success"
    assert next_night.messages == []
    log = next_night.log("announce_result")
    assert "Slack did not take this message" in log
    assert "All 2 databases are backed up and verified" in log


def kinds(names: list[str]) -> set[str]:
    """`verified-20261123T020513042Z-full--e3b0c44298.json` -> `verified-full`."""
    stems = [name.split(".")[0].partition("--")[0].split("-") for name in names]
    return {"-".join([stem[0], *stem[2:]]) for stem in stems}


def test_every_run_was_recorded(next_night: Run) -> None:
    runs = next_night.client.request("GET", f"/dags/{DAG_ID}/dagRuns")["dag_runs"]
    assert sorted(run["state"] for run in runs) == ["failed", "success", "success"]
