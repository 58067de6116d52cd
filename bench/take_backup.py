"""One backup without Airflow: `python -m bench.take_backup`, with DATABASE_URL and AWS_* in the environment.

Prints what it knows of itself as JSON. This is the process that is timed, its start-up included.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime

import boto3
from psycopg.conninfo import conninfo_to_dict

from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.dump import PostgresSource
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.repository.client import client_config
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation

SOURCE = "shop"


def postgres_server(dsn: str) -> PostgresServer:
    keywords = {word: str(value) for word, value in conninfo_to_dict(dsn).items()}
    password = keywords.pop("password", None)
    return PostgresServer(keywords, password)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--level", type=int, required=True)
    arguments = parser.parse_args()

    start = time.perf_counter()
    client = boto3.client("s3", config=client_config(arguments.streams))
    store = ObjectStore(client, bucket=arguments.bucket, prefix=arguments.prefix)
    source = PostgresSource(postgres_server(os.environ["DATABASE_URL"]), streams=arguments.streams)
    writer = BackupWriter(store, SOURCE, new_backup_id(datetime.now(UTC)), Codec(arguments.level))
    manifest = take_backup(source, PostgresEngine(), writer, Cancellation())
    report = {
        "seconds": time.perf_counter() - start,
        "backup_id": manifest.backup_id,
        "seal": manifest.seal,
        "rows": manifest.rows,
        "content_bytes": manifest.content_bytes,
        "schema_bytes": sum(item.content_bytes for item in manifest.objects if item.kind == "schema"),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
