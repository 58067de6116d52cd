"""One backup of a directory, or the restore of one file of it, without Airflow: `python -m bench.back_up_files`.

With AWS_* in the environment. Prints what it knows of itself as JSON. This is the process that is timed, its start-up
included.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import boto3

from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.place import Place
from backup_playbook.engines.files.restore import FilesRestore
from backup_playbook.engines.files.source import FilesOptions, FilesSource
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation

SOURCE = "uploads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for word in ("bucket", "prefix", "directory"):
        parser.add_argument(f"--{word}", required=True)
    parser.add_argument("--restore", help="this path, into the directory, from the newest backup")
    arguments = parser.parse_args()

    start = time.perf_counter()
    options = FilesOptions(storage_class="STANDARD")
    client = boto3.client("s3", config=client_config(options.files_at_once))
    store = ObjectStore(client, bucket=arguments.bucket, prefix=arguments.prefix)
    report: dict[str, object] = {}
    if arguments.restore is None:
        writer = BackupWriter(store, SOURCE, new_backup_id(datetime.now(UTC)), Codec())
        source = FilesSource(DirectoryTree(Path(arguments.directory)), options)
        manifest = take_backup(source, FilesEngine(), writer, Cancellation())
        report = {"backup_id": manifest.backup_id, "files": manifest.details["files"], **manifest.details["done"]}
    else:
        catalog = Catalog(store)
        newest = catalog.backups(SOURCE)[0].backup_id
        reader = open_backup(catalog, FilesEngine(), SOURCE, newest, Codec())
        with Place(Path(arguments.directory)) as place:
            work = FilesRestore(reader, place, Cancellation(), arguments.restore.encode())
            report = {**work.run(), **work.prove()}
    print(json.dumps({"seconds": time.perf_counter() - start, **report}))


if __name__ == "__main__":
    main()
