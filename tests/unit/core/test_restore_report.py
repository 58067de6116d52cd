"""The report of a restore test, as people and machines read it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from backup_playbook.core.comparison import TableComparison
from backup_playbook.core.markdown import ROWS_SHOWN
from backup_playbook.core.restore_report import CheckResult, ProvenTable, RestoreReport

START = datetime(2026, 12, 7, 6, 0, 5, tzinfo=UTC)


def report(**changes: Any) -> RestoreReport:
    values: dict[str, Any] = {
        "source": "shop",
        "engine": "postgres",
        "backup_id": "20261207T020004Z-7f3a91",
        "taken_at": datetime(2026, 12, 7, 2, 0, 4, tzinfo=UTC),
        "repository": "offsite",
        "target": "scratch_shop_1 at staging:5432",
        "run_id": "manual__1",
        "run_url": "http://airflow/run",
        "started_at": START,
        "finished_at": START + timedelta(minutes=3, seconds=20),
        "phases": {"restore: data": 100.25, "prove": 20.0},
        "rto_objective": timedelta(minutes=30),
        "content_bytes": 3 << 20,
        "proven": (ProvenTable(table="public.users", rows=1200, bytes=3 << 20),),
        "comparison": (TableComparison("public.users", 1200, 0, "is empty in production"),),
        "checks": (CheckResult(name="orders", ok=True, detail="0", seconds=0.1),),
    }
    return RestoreReport(**values | changes)


def test_passed() -> None:
    text = report().to_markdown()
    assert text.startswith("# Restore test of shop: restored and proven equal\n")
    assert "took 3 min 20 s, within the objective (RTO) of 30 min 00 s" in text
    assert "proven byte for byte: 1 table, 1,200 rows, 3.0 MB" in text
    assert "| restore: data | 100.2 |" in text
    assert "| public.users | 1,200 | 0 | is empty in production |" in text
    assert "| orders | ok | 0 |" in text
    assert "| public.users | 1,200 | 3,145,728 | equal |" in text


def test_failed() -> None:
    text = report(
        failed_step="prove", problem="public.users has 1 row\nwhere the backup has 2", proven=()
    ).to_markdown()
    assert text.startswith("# Restore test of shop: FAILED at prove\n")
    assert "- what failed: `prove`: public.users has 1 row where the backup has 2" in text
    assert "proven byte for byte" not in text


def test_over_the_objective() -> None:
    late = report(rto_objective=timedelta(minutes=3))
    assert not late.within_rto
    assert "**over** the objective" in late.to_markdown()
    assert late.remarks[0] == "It took longer than the RTO of 3 min 00 s."
    assert report().remarks == ["Compared with production: public.users is empty in production."]


def test_names_are_data() -> None:
    evil = report(proven=(ProvenTable(table="a | b\n# <script>", rows=1, bytes=1),)).to_markdown()
    assert "| a \\| b # &lt;script> | 1 | 1 | equal |" in evil


def test_long_tables_are_cut_for_people_only() -> None:
    many = tuple(ProvenTable(table=f"t{number}", rows=1, bytes=1) for number in range(ROWS_SHOWN + 3))
    assert "... and 3 more; all are in the JSON." in report(proven=many).to_markdown()
    assert len(RestoreReport.model_validate_json(report(proven=many).to_json()).proven) == ROWS_SHOWN + 3


def test_json_comes_back() -> None:
    assert RestoreReport.model_validate_json(report().to_json()) == report()


def test_copy_that_stays() -> None:
    kept = report(
        title="Restore", kept="shop_copy", undo="DROP DATABASE shop_copy;", left_out=("the rows of 3 other tables",)
    )
    assert kept.headline() == "Restore of shop: restored and proven equal"
    text = kept.to_markdown()
    assert "- stays as `shop_copy`; to undo: `DROP DATABASE shop_copy;`" in text
    assert "- left out: the rows of 3 other tables" in text


def test_what_equal_does_not_cover_is_said() -> None:
    views = "the rows of 2 materialised views"
    said = report(recomputed=(views,), left_out=("1 subscription",))
    assert f"Computed anew, not compared: {views}. Not in the copy: 1 subscription." in said.in_short()
    assert f"- computed anew, and not compared: {views}" in said.to_markdown()
    assert "anew" not in report().in_short() + report().to_markdown()
