"""`python -m bench.parse_dags FOLDER ROUNDS`: parse each DAG file as the dag processor does; prints a report as JSON.

The dag processor imports Airflow and loads plugins once, and forks for every file: each pays for whatever else it
imports of this project.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path

# not to be counted: Airflow's own modules, which it loads when the first of these names is used
from airflow.dag_processing.dagbag import DagBag
from airflow.listeners.listener import get_listener_manager
from airflow.providers.standard.operators import hitl  # noqa: F401
from airflow.sdk import dag, task, task_group  # noqa: F401


def parse(file: str) -> tuple[float, int]:
    """Seconds, and how many DAGs the file has."""
    start = time.perf_counter()
    bag = DagBag(file)
    seconds = time.perf_counter() - start
    if bag.import_errors:
        raise ImportError("\n".join(bag.import_errors.values()))
    return seconds, len(bag.dags)


def report(folder: Path, rounds: int) -> Mapping[str, object]:
    """Best of all rounds for each file, after one that writes the bytecode."""
    files = sorted(str(file) for file in folder.rglob("*.py"))
    with tempfile.TemporaryDirectory() as empty:
        DagBag(empty)  # the machinery, which every Airflow process loads once
    get_listener_manager()  # loads the plugins, as every job of Airflow does when it starts
    gc.collect()
    gc.freeze()  # as the dag processor does, or else each file pays for a collection of all that Airflow has made
    with get_context("fork").Pool(1, maxtasksperchild=1) as forks:
        first, *counted = [forks.map(parse, files, chunksize=1) for _ in range(rounds + 1)]
    best = [min(seconds for seconds, _ in runs) for runs in zip(*counted, strict=True)]
    names = [str(Path(file).relative_to(folder)) for file in files]
    return {"files": dict(zip(names, best, strict=True)), "dags": sum(count for _, count in first)}


if __name__ == "__main__":
    print(json.dumps(report(Path(sys.argv[1]), int(sys.argv[2]))))
