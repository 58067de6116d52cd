"""`python -m bench.parse_dags FOLDER`: parse all DAG files as the dag processor does; prints a report as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time

from airflow import sdk  # noqa: F401 (what every DAG file imports: not to be counted)
from airflow.dag_processing.dagbag import DagBag


def main() -> None:
    with tempfile.TemporaryDirectory() as empty:
        DagBag(empty)  # the machinery and the plugins, which every Airflow process loads once
    start = time.perf_counter()
    bag = DagBag(sys.argv[1])
    seconds = time.perf_counter() - start
    if bag.import_errors:
        sys.exit("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
    slowest = max(bag.dagbag_stats, key=lambda stat: stat.duration)
    report = {
        "seconds": seconds,
        "dags": len(bag.dags),
        "slowest": f"{slowest.file.lstrip('/')} {slowest.duration.total_seconds():.3f} s",
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
