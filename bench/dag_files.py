"""DAG files: how long the dag processor needs for all of them, over importing Airflow itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench.contestants import execute
from bench.measure import Series
from bench.report import Figure, Section

ROOT = Path(__file__).parent.parent
ROUNDS = 5


def measure(scratch: Path, say: Callable[[str], None]) -> Section:
    """A section without a figure while there are no DAG files. Raises PlaybookError when one cannot be imported."""
    dags = ROOT / "dags"
    files = len(list(dags.rglob("*.py")))
    if not files:
        say("no DAG files: nothing to parse")
        return Section("dag_files", "DAG files", facts={"files": 0})
    series = Series(f"`DagBag` over {files} files in a fresh process")
    for number in range(ROUNDS + 1):
        report = json.loads(_parse(dags, scratch / f"airflow-{number}"))
        say(f"{f'round {number} of {ROUNDS}' if number else 'warm-up'}: dag_files {report['seconds']:.3f} s")
        if number:
            series.seconds.append(report["seconds"])
    figure = Figure("dag_parse_seconds", series.median, (min(series.seconds), max(series.seconds)))
    facts = {"files": files, "dags": report["dags"], "slowest": report["slowest"]}
    return Section("dag_files", "DAG files", {"dag_files": series}, [figure], facts)


def _parse(dags: Path, home: Path) -> str:
    """In an Airflow of its own: neither its database nor its configuration is the user's."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    printed = execute("dag_files", [sys.executable, "-m", "bench.parse_dags", str(dags)], environment)
    return printed.splitlines()[-1]
