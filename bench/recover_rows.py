"""One recovery of rows without Airflow: `python -m bench.recover_rows`, with DATABASE_URL and AWS_* in the environment.

Prints seconds and bytes as JSON. This is the process that is timed, its start-up included. What it does is what the
steps of recover_deleted_rows do, from the choice of the rows to the look at production afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator

import boto3

from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.row_import import import_rows, preview_rows, remaining_rows
from backup_playbook.engines.postgres.row_recovery import load_rows, wanted_rows
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer
from backup_playbook.engines.restore import open_backup
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from bench.take_backup import SOURCE, postgres_server


class CountingStore(ObjectStore):
    """`passed`: bytes of objects that were read."""

    passed = 0

    def read(self, key: str, version: str = "") -> Iterator[bytes]:
        for block in super().read(key, version):
            self.passed += len(block)
            yield block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for word in ("bucket", "prefix", "backup-id", "table"):
        parser.add_argument(f"--{word}", required=True)
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--key", dest="keys", action="append", default=[])
    rows.add_argument("--where", default="")
    parser.add_argument("--streams", type=int, required=True)
    arguments = parser.parse_args()

    start = time.perf_counter()
    live = postgres_server(os.environ["DATABASE_URL"])
    client = boto3.client("s3", config=client_config(arguments.streams))
    store = CountingStore(client, bucket=arguments.bucket, prefix=arguments.prefix)
    reader = open_backup(Catalog(store), PostgresEngine(), SOURCE, arguments.backup_id, Codec())
    wanted = wanted_rows(live, arguments.table, arguments.keys, arguments.where)
    host = ScratchServer(live.at("postgres"), tuple)
    scratch = ScratchDatabase(host, scratch_name(SOURCE), "bench", RestoreOptions(arguments.streams))
    scratch.create(reader.manifest)
    created = time.perf_counter()
    phases = load_rows(live, scratch, reader, wanted, Cancellation())
    seen = preview_rows(live, scratch.server, "stop")
    recovered = import_rows(live, scratch.server, seen, "stop", fire_triggers=False, keep_undo=lambda _: "")
    remaining = remaining_rows(live, scratch.server)
    assert not any(counts.get("missing") for counts in remaining.values())
    report = {
        "rows": sum(recovered.inserted.values()),
        "bytes_read": store.passed,
        "scratch": scratch.name,
        "seconds": {"create": created - start, **phases, "all": time.perf_counter() - start},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
