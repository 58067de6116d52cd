"""The reports of a restore and of a recovery, built from what their steps left."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from backup_playbook.core.report import Report
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.live import PostgresLive
from backup_playbook.operators.handoffs import Exchanged, Proven, Replacing, Restoring
from backup_playbook.operators.recovery_report import DocumentRecovery
from backup_playbook.operators.report import Ended, Ending
from backup_playbook.operators.restore_report import DocumentRestore, DocumentRestoreTest

NOW = datetime.now(UTC)
QUARANTINE = "shop__quarantine_20261123_120000"
TABLE = SimpleNamespace(namespace="public", name="users", rows=1200, bytes=3 << 20)
MANIFEST = SimpleNamespace(tables=(TABLE,), content_bytes=3 << 20)


class Access:
    """As far as a report asks. rto: of the source."""

    engine = database_engine = PostgresEngine()
    settings = SimpleNamespace(restore_test=SimpleNamespace(target="staging"))
    backups = SimpleNamespace(manifest=lambda *_: MANIFEST)

    name = "shop"

    def __init__(self, rto: timedelta) -> None:
        self.config = SimpleNamespace(objectives_of=lambda _: SimpleNamespace(rto=rto))

    def live(self) -> Any:
        return PostgresLive


def known(**changes: Any) -> Restoring:
    values: dict[str, Any] = {
        "source": "shop",
        "backup_id": "20261207T020004Z-7f3a91",
        "repository": "offsite",
        "seal": "",
        "origin": "",
        "taken_at": NOW - timedelta(hours=8),
        "remark": "",
        "unverified": False,
        "started_at": NOW - timedelta(minutes=50),
        "scratch": "scratch_shop_1",
        "phases": {"restore: data": 100.25, "prove": 20.0},
        "proof": Proven(tables=1, schema_objects=3),
    }
    return Restoring(**values | changes)


def ended(failed: str = "", problem: str = "", **facts: Any) -> Ended:
    return Ended(failed, problem, facts, None)


def restored(end: Ended, step: Any = DocumentRestoreTest, rto: int = 60, **changes: Any) -> Report:
    operator = step(task_id="document_result", source="shop", steps=[])
    return built(operator, known(**changes), end, rto)


def built(operator: Ending, known: Restoring, end: Ended, rto: int) -> Report:
    operator.__dict__["access"] = Access(timedelta(minutes=rto))
    common: Any = {
        "kind": operator.kind, "source": "shop", "failed_step": end.failed, "problem": end.problem, "run_id": "a run",
        "run_url": "", "started_at": known.started_at, "finished_at": NOW, "approved_by": end.approved_by,
    }  # fmt: skip
    return Report(**common | operator.describe(known, end, NOW))


def test_restore_test() -> None:
    compared = [{"table": "public.users", "then": 1200, "now": 0, "remark": "is empty in production"}]
    checks = [{"name": "orders", "ok": True, "detail": "0"}]
    found = restored(ended(comparison=compared, checks=checks))
    text = found.to_markdown()
    assert found.headline == "Restore test of shop: restored and proven equal"
    assert found.in_short.startswith("20261207T020004Z-7f3a91 from offsite: 1 table, 1,200 rows, 3.0 MB equal byte for")
    assert "1 application check passed; took 50 min 0" in found.in_short
    assert "- restored into: scratch_shop_1 on staging" in text
    assert "within the objective (RTO) of 1 h 00 min" in text
    assert "| public.users | 1,200 | 0 | is empty in production |" in text
    assert "| orders | ok | 0 |" in text
    assert "| public.users | 1,200 | 3,145,728 | equal |" in text
    assert found.remarks == ("Compared with production: public.users is empty in production.",)


def test_failed_test() -> None:
    found = restored(ended("prove", "public.users has 1 row"), proof=None)
    assert (found.headline, found.passed) == ("Restore test of shop: FAILED at prove", False)
    assert "proven byte for byte" not in found.to_markdown()


def test_over_the_objective() -> None:
    late = restored(ended(), rto=3)
    assert "*over* the RTO of 3 min 00 s" in late.in_short
    assert late.remarks == ("It took longer than the RTO of 3 min 00 s.",)


def test_copy_that_stays() -> None:
    kept = restored(
        ended(), DocumentRestore, kept="shop_copy", target="staging", left_out=("the rows of 3 other tables",)
    )
    assert kept.headline == "shop was restored as shop_copy on staging"
    assert kept.undo == '`DROP DATABASE "shop_copy" WITH (FORCE);`'
    assert "- stays as: `shop_copy`" in kept.to_markdown()
    assert "- not in the copy: the rows of 3 other tables" in kept.to_markdown()


def test_what_equal_does_not_cover_is_said() -> None:
    views = "the rows of 2 materialised views"
    proof = Proven(tables=1, schema_objects=3, left_out=("1 subscription",), recomputed=(views,))
    found = restored(ended(), proof=proof)
    assert f"Computed anew, not compared: {views}. Not in the copy: 1 subscription." in found.in_short


def recovered(end: Ended, rto: int = 30, *, promoted: bool = True) -> Report:
    operator = DocumentRecovery(task_id="document_recovery", source="shop", steps=[])
    done = Exchanged(promoted_at=NOW - timedelta(minutes=5), unreachable_seconds=0.131, sessions_ended=20)
    replacing = Replacing(
        live="shop", live_id="7", quarantine=QUARANTINE, planned_at=NOW - timedelta(minutes=49),
        exchanged=done if promoted else None,
    )  # fmt: skip
    return built(operator, known(replacing=replacing), end, rto)


APPROVED = {"approved_by": "Ada", "approved_at": (NOW - timedelta(minutes=9)).isoformat()}
MAINTENANCE = {
    "maintenance_on": (NOW - timedelta(minutes=8)).isoformat(),
    "maintenance_off": (NOW - timedelta(minutes=2)).isoformat(),
}


def test_recovery() -> None:
    differences = [{"table": "public.orders", "before": "invalid page", "after": 1000}]
    end = ended(**APPROVED, **MAINTENANCE, differences=differences, amcheck="no damage found")
    found = recovered(end)
    assert found.took == timedelta(minutes=5)
    assert "Took 5 min 00 s without the wait for approval, within the RTO" in found.in_short
    assert "the writes of 7 h 55 min" in found.in_short
    text = found.to_markdown()
    assert "approved by Ada" in text
    assert "refused connections for 0.13 s; 20 sessions were ended" in text
    assert f'rollback_promotion --conf \'{{"source": "shop", "quarantine": "{QUARANTINE}"}}\'' in text
    assert "- maintenance mode: 6 min 00 s" in text
    assert "| public.orders | invalid page | 1,000 |" in text


def test_failure_says_that_production_is_what_it_was() -> None:
    found = recovered(ended("prove", "It differs.", **APPROVED), promoted=False)
    assert found.headline == "Recovery of shop failed at prove; production is what it was"
    assert found.undo == ""
    assert "- replaced:" not in found.to_markdown()


def test_failure_after_the_exchange() -> None:
    found = recovered(
        ended("switch_maintenance_off", "No answer.", left_on="No answer.", maintenance_on=NOW.isoformat())
    )
    assert "after production was exchanged" in found.headline
    assert "MAINTENANCE MODE IS STILL ON: No answer." in found.in_short


def test_late_recovery_is_over_its_objective() -> None:
    assert "*over* the RTO" in recovered(ended()).in_short


def test_rejected_recovery() -> None:
    found = recovered(ended(rejected_by="Grace"), promoted=False)
    assert (found.passed, found.headline) == (True, "Recovery of shop was rejected by Grace; nothing was touched")
