"""`python -m bench`: run all benchmarks and write results.json and RESULTS.md. Goals that are missed are not errors."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
            machine = describe(servers.postgres)
            sections, failed = _measure(arguments.only, servers, size, say)
    except (PlaybookError, EmbeddedError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    file = HERE / ("results.json" if size.name == "full" else f"results-{size.name}.json")
    results: Mapping[str, Any] = report.document(size.name, datetime.now(UTC).date().isoformat(), machine, sections)
    if len(arguments.only) < len(DISCIPLINES):
        results = report.merged(file, results)
    report.write(results, file)
    print(f"\n{report.to_markdown(results)}\nWritten to {os.path.relpath(file)}.")
    if failed:
        print(f"bench: these failed, see above: {', '.join(failed)}", file=sys.stderr)
    if missing := report.missing(results):
        print(f"bench: these figures are not measured: {', '.join(missing)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(names: Sequence[str], servers: Stand, size: Size, say: Say) -> tuple[list[report.Section], list[str]]:
    """What the disciplines have measured, and which of them failed: one does not cost the results of the others."""
    sections, failed = [], []
    for name in names:
        try:
            sections += DISCIPLINES[name](servers, size, say)
        except (PlaybookError, EmbeddedError) as error:
            print(f"bench: {name}: {error}", file=sys.stderr)
            failed.append(name)
        except Exception:  # noqa: BLE001 - shown whole
            traceback.print_exc()
            failed.append(name)
    return sections, failed


if __name__ == "__main__":
    sys.exit(main())
