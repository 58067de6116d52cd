"""`python -m bench`: run all benchmarks and write results.json and RESULTS.md. Goals that are missed are not errors."""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from backup_playbook.core.errors import PlaybookError
from bench import backup, catalog, dag_files, report
from bench.machine import describe
from bench.stand import SIZES, stand
from embedded.errors import EmbeddedError
from embedded.postgres import client_bin_dirs

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--size", choices=SIZES, default="full", help="small: under two minutes; full: about a quarter of an hour"
    )
    size = SIZES[parser.parse_args().size]
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {line}", flush=True)

    os.environ["BACKUP_PLAYBOOK_PG_CLIENTS"] = str(client_bin_dirs()[0])
    try:
        with stand() as servers:
            sections = [
                *backup.measure(servers, size, say),
                catalog.measure(servers, say),
                dag_files.measure(servers.scratch, say),
            ]
            machine = describe(servers.postgres)
    except (PlaybookError, EmbeddedError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    results = report.document(size.name, datetime.now(UTC).date().isoformat(), machine, sections)
    file = HERE / ("results.json" if size.name == "full" else f"results-{size.name}.json")
    report.write(results, file)
    print(f"\n{report.to_markdown(results)}\nWritten to {os.path.relpath(file)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
