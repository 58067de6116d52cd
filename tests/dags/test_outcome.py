"""What a run says at its end, from the states of its steps."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.core.progress import human_age
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.protection import LastVerified
from backup_playbook.operators import announcement
from backup_playbook.operators.handoffs import Taken
from backup_playbook.operators.outcome import Outcome, Stage, headline, outcome, severity

STAGES = [
    Stage("protect.dump_compress_upload", "there is no new backup"),
    Stage("protect.verify", "the new backup is not verified"),
    Stage("protect.copy_offsite", "there is no off-site copy", only_offsite=True),
    Stage("protect.verify_offsite", "the off-site copy is not verified", only_offsite=True),
    Stage("prune", "old backups were not removed", unsafe=False),
]


def taken(**verified: str) -> Taken:
    return Taken(
        source="shop",
        backup_id="20261123T020004Z-7f3a91",
        seal="",
        tables=3,
        rows=12_345,
        content_bytes=5 << 20,
        stored_bytes=1 << 20,
        encryption="none",
        seconds=75.4,
        verified=verified,
        summary="3 tables, 12,345 rows; 5.0 MB stored as 1.0 MB",
    )


RESULTS = {
    "protect.dump_compress_upload": taken(),
    "protect.verify": taken(primary="full"),
    "protect.copy_offsite": taken(primary="full"),
    "protect.verify_offsite": taken(primary="full", offsite="full"),
}


def shop(*found: str, offsite: bool = True, results: Mapping[str, Taken] = RESULTS) -> Outcome:
    states = {f"{stage.task_id}_0": state for stage, state in zip(STAGES, found, strict=True)}
    return outcome("shop", 0, STAGES, states, results, offsite=offsite)


GOOD = shop(*["success"] * 5)
UNVERIFIED = shop("success", "failed", "upstream_failed", "upstream_failed", "success")
UNTIDY = shop("success", "success", "success", "success", "failed")
UNEXPANDED = outcome("shop", 0, STAGES, {"protect.dump_compress_upload": "upstream_failed"}, {}, offsite=True)


@pytest.mark.parametrize(
    ("found", "failed", "safe"),
    [
        (GOOD, None, True),
        (shop("failed", *["upstream_failed"] * 3, "success"), "dump_compress_upload", False),
        (UNVERIFIED, "verify", False),
        (shop("success", "success", "failed", "upstream_failed", "success"), "copy_offsite", False),
        (shop("success", "success", "success", "failed", "success"), "verify_offsite", False),
        (shop("success", "success", "skipped", "skipped", "success"), "copy_offsite", False),
        (shop("success", "success", "skipped", "skipped", "success", offsite=False), None, True),
        (UNTIDY, "prune", True),
        (UNEXPANDED, "dump_compress_upload", False),
    ],
)
def test_first_step_without_success_decides(found: Outcome, failed: str | None, safe: bool) -> None:
    assert (found.failed and found.failed.label, found.safe) == (failed, safe)


def test_results_of_an_earlier_try_are_not_reported() -> None:
    """A cleared step that failed since leaves what its later steps once returned."""
    assert UNVERIFIED.taken == taken()


@pytest.mark.parametrize(
    ("outcomes", "level", "text"),
    [
        ([GOOD], "info", "shop is backed up and verified"),
        ([GOOD, GOOD], "info", "All 2 databases are backed up and verified"),
        ([UNVERIFIED], "high", "shop is not safely backed up"),
        ([UNVERIFIED, GOOD], "high", "shop is not safely backed up"),
        ([UNVERIFIED, UNEXPANDED, GOOD], "high", "2 of 3 databases are not safely backed up"),
        ([UNVERIFIED, UNVERIFIED], "high", "All 2 databases are not safely backed up"),
        ([UNTIDY], "medium", "shop is backed up and verified, but old backups of shop were not removed"),
        ([UNTIDY, UNVERIFIED], "high", "shop is not safely backed up"),
    ],
)
def test_headline_says_what_is_at_risk(outcomes: list[Outcome], level: str, text: str) -> None:
    assert (severity(outcomes), headline(outcomes)) == (level, text)


def test_lost_rows_are_one_line_and_no_green_that_nobody_reads() -> None:
    lost = {"lost": "public.payments 30,058 -> 20,060"}
    item = shop(*["success"] * 5, results={step: one.model_copy(update=lost) for step, one in RESULTS.items()})
    assert item.line().endswith("*Fewer than in the backup before:* public.payments 30,058 -> 20,060.")
    assert (severity([item]), headline([item])) == ("medium", f"{headline([GOOD])}; look at what it says of shop")


def test_lines() -> None:
    assert GOOD.line() == (
        "*shop* `20261123T020004Z-7f3a91`: 3 tables, 12,345 rows; 5.0 MB stored as 1.0 MB in 1 min 15 s; "
        "verified in primary (full); verified in offsite (full)."
    )
    assert UNEXPANDED.line() == "*shop*:"
    assert UNEXPANDED.problem() == "`dump_compress_upload` not started: there is no new backup"
    assert UNVERIFIED.problem() == "`verify` failed: the new backup is not verified"


def test_last_verified_backup_against_the_promise() -> None:
    assert LastVerified().sentence() == "It has no verified backup at all."
    day = timedelta(days=1)
    young, old = LastVerified("A", timedelta(hours=5), day), LastVerified("B", timedelta(days=3, hours=4), day)
    assert young.sentence() == "Its newest verified backup is `A`, 5 h 00 min old."
    assert old.sentence() == "Its newest verified backup is `B`, 3 days 4 h old, older than the RPO of 24 h 00 min."
    assert human_age(timedelta(seconds=8)) == "8 s"


def test_error_is_told_without_its_remedy_and_not_at_length() -> None:
    assert replace(UNVERIFIED, error="It is gone.\nWhat to do: Look for it.").why() == "It is gone."
    assert UNVERIFIED.why() == ""
    assert len(replace(UNVERIFIED, error="word " * 1000).why()) <= 300


def test_a_good_backup_that_warns_is_no_mere_information() -> None:
    warned = replace(GOOD, taken=taken().model_copy(update={"warned": True}))
    assert severity([GOOD, warned]) == "medium"
    assert headline([warned]) == "shop is backed up and verified; look at what it says of shop"


class Run:
    """A night of `shop`, `crm` and `gone`, as its announcement sees it."""

    dag_id, run_id = "nightly_database_backup", "manual__1"

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}
        good = {f"{stage.task_id}_0": "success" for stage in STAGES}
        failed = {
            f"{STAGES[0].task_id}_1": "success",
            f"{STAGES[1].task_id}_1": "failed",
            f"{STAGES[4].task_id}_1": "success",
        }
        self.states = good | failed

    def get_task_states(self, **_: Any) -> Any:
        return {self.run_id: self.states}

    def xcom_pull(self, *, task_ids: str, map_indexes: int, key: str = "return_value") -> Any:
        if key == "error":
            return (
                "The bucket is gone.\nWhat to do: Look for it."
                if (task_ids, map_indexes) == (STAGES[1].task_id, 1)
                else None
            )
        found = RESULTS.get(task_ids) if map_indexes == 0 or task_ids == STAGES[0].task_id else None
        return found and found.as_json()

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def test_announcement_begins_with_what_failed(dagbag: DagBag, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Message] = []
    monkeypatch.setattr(runs, "deliver", lambda message: told.append(message) or True)
    monkeypatch.setattr(announcement, "last_verified", lambda source: LastVerified())
    announce: Any = dagbag.dags["nightly_database_backup"].task_dict["announce_result"].prepare_for_execution()
    announce.sources, run = '["shop", "crm", "gone"]', Run()
    with pytest.raises(AirflowFailException) as failure:
        announce.execute({"ti": run})
    assert str(failure.value).startswith(
        "2 of 3 databases are not safely backed up. crm: `verify` failed: the new backup is not verified. The bucket "
        "is gone; gone: `dump_compress_upload` not started: there is no new backup. What to do: "
    )
    [message] = told
    assert (message.severity, message.headline) == ("high", "2 of 3 databases are not safely backed up")
    assert [line[:6] for line in message.lines] == ["*crm* ", "*gone*", "*shop*"]
    assert message.lines[0].endswith(
        "*`verify` failed: the new backup is not verified.* The bucket is gone. It has no verified backup at all."
    )
    assert run.pushed == {runs.TOLD: True}
    announce.sources = ["shop"]
    assert announce.execute({"ti": run}) == [RESULTS["protect.verify_offsite"].as_json()]
    assert told[-1].headline == "shop is backed up and verified"
