"""DAG files: how long the dag processor needs for each of them, over importing Airflow itself."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.contestants import execute
from bench.measure import Series
from bench.report import Figure, Section

ROOT = Path(__file__).parent.parent
ROUNDS = 5
_MILLISECONDS = 1000


def measure(scratch: Path, say: Callable[[str], None]) -> Section:
    """Raises PlaybookError when a file cannot be imported."""
    say("parsing every DAG file ...")
    report = _parse(ROOT / "dags", scratch / "airflow")
    files: dict[str, float] = report["files"]
    for name, seconds in files.items():
        say(f"best of {ROUNDS} rounds: {name} {seconds * _MILLISECONDS:.1f} ms")
    slowest = max(files, key=files.__getitem__)
    series = Series(f"`DagBag(file)` of {len(files)} files, each in a fork of Airflow; the best of {ROUNDS} rounds")
    series.seconds.extend(files.values())
    figures = [
        Figure("dag_file_median_ms", statistics.median(files.values()) * _MILLISECONDS),
        Figure("dag_file_slowest_ms", files[slowest] * _MILLISECONDS),
    ]
    facts = {"files": len(files), "dags": report["dags"], "slowest": slowest}
    return Section("dag_files", "DAG files", {"dag_files": series}, figures, facts)


def _parse(dags: Path, home: Path) -> Any:
    """In an Airflow of its own: neither its database nor its configuration is the user's."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    mine.pop("PYTHONDONTWRITEBYTECODE", None)
    environment = {
        **mine,
        "PYTHONPYCACHEPREFIX": str(home / "bytecode"),  # nothing is left in the tree, and all of it is up to date
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "bench.parse_dags", str(dags), str(ROUNDS)]
    return json.loads(execute("dag_files", command, environment).splitlines()[-1])
