"""The results that are in the repository are those of today's benchmarks, and their page says what they lack."""

import json
from pathlib import Path

import pytest

from bench import report
from bench.report import GOALS

pytestmark = pytest.mark.drift

BENCH = Path(report.__file__).parent
RESULTS = json.loads((BENCH / "results.json").read_text())


def test_page_is_made_of_the_results() -> None:
    assert (BENCH / "RESULTS.md").read_text() == report.to_markdown(RESULTS)


def test_page_has_every_figure() -> None:
    page = (BENCH / "RESULTS.md").read_text()
    assert [name for name in GOALS if f"| {name} |" not in page] == []


def test_figures_are_held_against_todays_goals() -> None:
    for name, figure in RESULTS["figures"].items():
        goal = GOALS[name]
        assert (figure["unit"], figure["goal"], figure["note"]) == (goal.unit, str(goal), goal.note), name
