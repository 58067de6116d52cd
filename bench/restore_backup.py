"""One restore, or the proof of one, without Airflow: `python -m bench.restore_backup`, with DATABASE_URL and AWS_*.

Prints the seconds of each phase as JSON. This is the process that is timed, its start-up included. What it does is what
a scratch database of the monthly restore test does.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import boto3

from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.restore import Restore, RestoreOptions
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from bench.take_backup import SOURCE, postgres_server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("restore", "prove"))
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--backup-id", required=True)
    parser.add_argument("--streams", type=int, required=True)
    arguments = parser.parse_args()

    server = postgres_server(os.environ["DATABASE_URL"])
    client = boto3.client("s3", config=client_config(arguments.streams))
    catalog = Catalog(ObjectStore(client, bucket=arguments.bucket, prefix=arguments.prefix))
    reader = open_backup(catalog, PostgresEngine(), SOURCE, arguments.backup_id, Codec())
    if arguments.step == "restore":
        phases = Restore(server, [], reader, RestoreOptions(arguments.streams), Cancellation()).run()
    else:
        start = time.perf_counter()
        host = ScratchServer(server, tuple)
        copy = ScratchDatabase(host, server.database, "bench", RestoreOptions(arguments.streams))
        copy.prove(reader, Cancellation())
        phases = {"prove": time.perf_counter() - start}
    print(json.dumps(phases))


if __name__ == "__main__":
    main()
