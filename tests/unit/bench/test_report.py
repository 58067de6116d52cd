"""Figures against goals, and the page that is made from them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.measure import Series
from bench.report import GOALS, Figure, Section


@pytest.mark.parametrize(
    ("name", "value", "met"),
    [
        ("backup_vs_playbook", 4.0, True),
        ("backup_vs_playbook", 3.99, False),
        ("backup_vs_limit", 1.5, True),
        ("backup_vs_limit", 1.51, False),
        ("backup_scratch_bytes", 0, True),
    ],
)
def test_a_figure_is_held_against_its_goal(name: str, value: float, met: bool) -> None:
    assert Figure(name, value).to_json()["met"] is met


def test_a_figure_within_its_bound_misses_when_its_other_condition_does() -> None:
    assert Figure("backup_peak_rss_4gb_mb", 200, holds=False).to_json()["met"] is False


def test_every_figure_has_one_bound() -> None:
    assert all((goal.at_least is None) != (goal.at_most is None) for goal in GOALS.values())


@pytest.fixture
def results() -> dict[str, Any]:
    series = {"pipe": Series("`a | b`", [2.0, 1.0, 4.0], [0, 0, 0], [7_000_000, 7_000_000, 7_100_000])}
    section = Section("backup", "Backup", series, [Figure("backup_vs_limit", 1.7, (1.4, 1.8))], {"rows": 12})
    return report.document("full", "2026-11-23", {"cores": "2"}, [section])


def test_the_document_holds_medians_spread_and_machine(results: dict[str, Any], tmp_path: Path) -> None:
    report.write(results, tmp_path / "results.json")
    read = json.loads((tmp_path / "results.json").read_text())
    assert read["figures"]["backup_vs_limit"] == {
        "value": 1.7,
        "unit": "x",
        "goal": "≤ 1.5 x",
        "met": False,
        "note": GOALS["backup_vs_limit"].note,
        "spread": [1.4, 1.8],
    }
    assert read["machine"] == {"cores": "2"}
    pipe = read["measurements"]["backup"]["series"]["pipe"]
    assert (pipe["median"], pipe["min"], pipe["max"], pipe["stored_bytes"]) == (2.0, 1.0, 4.0, 7_100_000)


def test_the_page_is_made_of_whole_tables(results: dict[str, Any], tmp_path: Path) -> None:
    report.write(results, tmp_path / "results-small.json")
    page = (tmp_path / "RESULTS-small.md").read_text()
    assert "`make bench SIZE=full`" in page
    assert "| backup_vs_limit | 1.7 x | 1.4 - 1.8 | ≤ 1.5 x | **no** |" in page
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table


def test_results_of_some_disciplines_take_the_place_of_earlier_ones(results: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    report.write(results, file)
    catalog = Section("catalog", "Catalog", figures=[Figure("catalog_10000_seconds", 1)])
    faster = Section("backup", "Backup", figures=[Figure("backup_vs_limit", 1.2)])
    found = report.merged(file, report.document("full", "2026-11-24", {"cores": "2"}, [catalog, faster]))
    assert {name: figure["value"] for name, figure in found["figures"].items()} == {
        "backup_vs_limit": 1.2,
        "catalog_10000_seconds": 1,
    }
    assert list(found["measurements"]) == ["backup", "catalog"]
    assert found["date"] == "2026-11-24"


def test_results_of_another_machine_are_not_kept(results: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    report.write(results, file)
    catalog = Section("catalog", "Catalog", figures=[Figure("catalog_10000_seconds", 1)])
    alone = report.document("full", "2026-11-24", {"cores": "64"}, [catalog])
    assert report.merged(file, alone) == alone
    assert report.merged(tmp_path / "none.json", alone) == alone
