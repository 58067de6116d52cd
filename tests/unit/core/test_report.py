"""The report of a run, as people and machines read it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from backup_playbook.core.markdown import ROWS_SHOWN
from backup_playbook.core.report import Report, Table

START = datetime(2026, 12, 7, 6, 0, 5, tzinfo=UTC)


def report(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "kind": "restore-test",
        "source": "shop",
        "headline": "Restore test of shop: restored and proven equal",
        "in_short": "20261207T020004Z-7f3a91 from offsite: it took *over* the RTO; `prove` said so.",
        "backup_id": "20261207T020004Z-7f3a91",
        "taken_at": datetime(2026, 12, 7, 2, 0, 4, tzinfo=UTC),
        "repository": "offsite",
        "run_id": "manual__1",
        "run_url": "http://airflow/run",
        "started_at": START,
        "finished_at": START + timedelta(minutes=3, seconds=20),
        "phases": {"restore: data": 100.25, "prove": 20.0},
        "facts": {"restored into": "a scratch"},
        "tables": (Table(title="Proof", head=("table", "rows"), rows=(("public.users", "1,200"),)),),
        "remarks": ("It took longer than the RTO of 3 min 00 s.",),
        "undo": "`DROP DATABASE shop_copy;`",
    }
    return Report(**values | changes)


def test_passed() -> None:
    text = report().to_markdown()
    assert text.startswith(
        "# Restore test of shop: restored and proven equal\n\n20261207T020004Z-7f3a91 from offsite: it"
    )
    assert "- backup: `20261207T020004Z-7f3a91`, taken 2026-12-07 02:00:04 UTC, from repository offsite" in text
    assert "- restored into: a scratch\n- It took longer" in text
    assert "- to undo: `DROP DATABASE shop_copy;`" in text
    assert "| restore: data | 100.2 s |" in text
    assert "| public.users | 1,200 |" in text
    assert report().name == "restore-test-20261207T060325Z"


def test_marks_of_a_message_are_none_of_the_document() -> None:
    assert "it took over the RTO; prove said so." in report().to_markdown()


def test_failed() -> None:
    failed = report(failed_step="prove", problem="public.users has 1 row\nwhere the backup has 2")
    assert not failed.passed
    assert "- what failed: `prove`: public.users has 1 row where the backup has 2" in failed.to_markdown()


def test_names_are_data() -> None:
    evil = Table(title="Proof", head=("table", "rows"), rows=(("a | b\n# <script>", "1"),))
    assert "| a \\| b # &lt;script> | 1 |" in report(tables=(evil,)).to_markdown()


def test_long_tables_are_cut_for_people_only() -> None:
    rows = tuple((f"t{number}", "1") for number in range(ROWS_SHOWN + 3))
    long = report(tables=(Table(title="Proof", head=("table", "rows"), rows=rows),))
    assert "... and 3 more; all are in the JSON." in long.to_markdown()
    assert len(Report.model_validate_json(long.to_json()).tables[0].rows) == ROWS_SHOWN + 3


def test_json_comes_back() -> None:
    assert Report.model_validate_json(report().to_json()) == report()
