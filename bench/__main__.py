"""`python -m bench`: run all benchmarks and write results.json and RESULTS.md. Goals that are missed are not errors."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from backup_playbook.core.errors import PlaybookError
from bench import backup, catalog, dag_files, files, mongodb, promotion, report, restore, row_recovery, verification
from bench.machine import describe
from bench.stand import SIZES, Size, Stand, stand
from embedded.errors import EmbeddedError
from embedded.postgres import client_bin_dirs

HERE = Path(__file__).parent

Say = Callable[[str], None]
DISCIPLINES: Mapping[str, Callable[[Stand, Size, Say], list[report.Section]]] = {
    "backup": backup.measure,
    "restore": restore.measure,
    "row_recovery": lambda servers, size, say: [
        row_recovery.measure(servers, size, say),
        row_recovery.measure_many(servers, size, say),
    ],
    "mongodb": mongodb.measure,
    "promotion": lambda servers, _, say: [promotion.measure(servers, say)],
    "verification": lambda servers, size, say: [verification.measure(servers, size, say)],
    "files": files.measure,
    "catalog": lambda servers, _, say: [catalog.measure(servers, say)],
    "dag_files": lambda servers, _, say: [dag_files.measure(servers.scratch, say)],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--size", choices=SIZES, default="full", help="small: under two minutes; full: about half an hour"
    )
    parser.add_argument(
        "--only", choices=DISCIPLINES, nargs="+", default=list(DISCIPLINES),
        help="these alone; what the file of results has of the others stays",
    )  # fmt: skip
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {line}", flush=True)

    os.environ["BACKUP_PLAYBOOK_PG_CLIENTS"] = str(client_bin_dirs()[0])
    try:
        with stand() as servers:
            sections = [section for name in arguments.only for section in DISCIPLINES[name](servers, size, say)]
            machine = describe(servers.postgres)
    except (PlaybookError, EmbeddedError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    results = report.document(size.name, datetime.now(UTC).date().isoformat(), machine, sections)
    print(f"\n{report.to_markdown(results)}")
    file = HERE / ("results.json" if size.name == "full" else f"results-{size.name}.json")
    report.write(results if len(arguments.only) == len(DISCIPLINES) else report.merged(file, results), file)
    print(f"Written to {os.path.relpath(file)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
