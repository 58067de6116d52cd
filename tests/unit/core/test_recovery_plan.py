"""What a person reads before a recovery, and after it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from backup_playbook.core.recovery_plan import Candidate, RecoveryPlan
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.live import MongoLive
from backup_playbook.engines.postgres.live import PostgresLive

TAKEN = datetime(2026, 11, 23, 2, tzinfo=UTC)
NOW = TAKEN + timedelta(hours=8)
QUARANTINE = "shop__quarantine_20261123_100000"
PLAN = RecoveryPlan(
    words=EngineWords(),
    exchange=PostgresLive.words,
    source="shop",
    live="shop",
    quarantine=QUARANTINE,
    backup_id="20261123T020000Z-7f3a91",
    repository="primary",
    taken_at=TAKEN,
    known="proven by a restore on 2026-11-23",
    content_bytes=3 << 30,
    then={"public.users": 10, "public.orders": 1000, "public.old": 1},
    now={"public.users": 10, "public.orders": 0, "public.new|<b>": 3},
    uncounted="",
    estimate=timedelta(minutes=3),
    rto=timedelta(minutes=30),
    maintenance="There is no maintenance mode.",
    undo_dag="bring_back",
    release_dag="drop_quarantine",
    remarks=("The server has 9 GB free.",),
    candidates=(Candidate("20261122T020000Z-000000", TAKEN - timedelta(days=1), "verified", {"public.a": 1011}),),
)


def test_plan_says_what_when_how_long_and_how_to_undo() -> None:
    text = PLAN.to_markdown(NOW)
    for words in (
        "`20261123T020000Z-7f3a91` from repository primary; taken 2026-11-23 02:00:00 UTC, 8 h 00 min ago; proven by",
        "the work of 8 h 00 min",
        "restore with proof about 3 min 00 s; the objective (RTO) is 30 min 00 s",
        f"becomes `{QUARANTINE}`",
        "`bring_back` brings the quarantine back in seconds. `drop_quarantine` drops it, for good.",
        "| public.orders | 1,000 | 0 |",
        "| public.old | 1 | no such table |",
        "- The server has 9 GB free.",
        "| 20261122T020000Z-000000 | 2026-11-22 02:00:00 UTC | verified | 1,011 |",
    ):
        assert words in text
    assert "public.users |" not in text
    assert "As many rows now as in the backup: 1 table." in text


def test_page_that_offers_a_choice_shows_what_each_backup_has_and_costs() -> None:
    rows = {"public.users": 10, "public.orders": 1000}
    newest = Candidate(
        "B3", TAKEN, "proven", rows | {"public.orders": 0}, "restored 11-23 06:00 (primary)", "Restore B3"
    )
    rejected = Candidate(
        "B2", TAKEN - timedelta(hours=12), "REJECTED", {"public.orders": 5}, "rejected 11-23 03:00 (full)"
    )
    oldest = Candidate("B1", TAKEN - timedelta(days=1), "verified", rows, "", "Restore B1")
    now = {"public.users": 10, "public.orders": 0}
    plan = replace(PLAN, now=now, candidates=(newest, rejected, oldest), choose=True)
    text = plan.to_markdown(NOW)
    for words in (
        "| Restore B3 | 2026-11-23 02:00:00 UTC | 8 h 00 min | proven | restored 11-23 06:00 (primary) | 10 |",
        "| B2 cannot be chosen | 2026-11-22 14:00:00 UTC | 20 h 00 min | REJECTED | rejected 11-23 03:00 (full) |  |",
        "| Restore B1 | 2026-11-22 02:00:00 UTC | 32 h 00 min | verified | none | 1,010 |",
        "| table | now | 11-23 02:00 | 11-22 02:00 |",
        "| public.orders | 0 | 0 | 1,000 |",
        "As many rows in all of these: 1 table.",
    ):
        assert words in text
    assert PLAN.backup_id not in text
    assert plan.in_short(NOW) == "Choose one of 2 backups from primary to replace shop."
    unreadable = replace(plan, now={}, uncounted="invalid page in block 0").to_markdown(NOW)
    assert "cannot be counted now: invalid page" in unreadable
    assert "| public.orders | 0 | 1,000 |" in unreadable


def test_names_are_data() -> None:
    assert "public.new\\|&lt;b>" in PLAN.to_markdown(NOW)


def test_production_that_cannot_be_counted() -> None:
    text = replace(PLAN, now={}, uncounted="invalid page in block 0").to_markdown(NOW)
    assert "cannot be counted now: invalid page in block 0" in text
    assert "Rows that differ" not in text


def test_nothing_was_measured_yet() -> None:
    assert "restore with proof not measured yet" in replace(PLAN, estimate=None).to_markdown(NOW)


def test_mongodb_is_exchanged_in_another_way() -> None:
    plan = replace(PLAN, words=MongoEngine.words, exchange=MongoLive.words).to_markdown(NOW)
    assert f"those of now are kept unchanged, under names that begin with `{PLAN.quarantine}`" in plan
    assert "refuses connections" not in plan
    assert "As many documents now as in the backup: 1 collection." in plan
