"""One phase of a backup's life in a process of its own, so that its memory can be measured. Its order comes on stdin.

Prints the backup's id, the seconds, and the largest resident memory in MiB, as JSON.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import boto3

from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.scratch import MongoScratch, MongoScratchServer
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation

SOURCE = "shop"
STREAMS = 2


def main() -> None:
    order = json.load(sys.stdin)
    backup_id = order["backup_id"]
    client = boto3.client("s3", config=client_config(STREAMS), **order["client"])
    store = ObjectStore(client, bucket=order["bucket"], prefix=order["prefix"])
    server, engine = MongoServer(order["uri"], order["database"]), MongoEngine()
    scratch = MongoScratch(MongoScratchServer(server, tuple), order["scratch"], "test", STREAMS)
    start = time.monotonic()
    if order["phase"] == "dump":
        writer = BackupWriter(store, SOURCE, new_backup_id(datetime.now(UTC)), Codec())
        source = MongoSource(server, STREAMS)
        backup_id = take_backup(source, engine, writer, Cancellation()).backup_id
    elif order["phase"] == "verify":
        Verification(Catalog(store), engine, Codec(), Depth.FULL, STREAMS).run(SOURCE, backup_id, Cancellation())
    else:
        reader = open_backup(Catalog(store), engine, SOURCE, backup_id, Codec())
        if order["phase"] == "restore":
            scratch.create(reader.manifest)
        getattr(scratch, order["phase"])(reader, Cancellation())
    seconds = round(time.monotonic() - start, 2)
    print(json.dumps({"backup_id": backup_id, "seconds": seconds, "mib": peak_kib() >> 10}))


def peak_kib() -> int:
    """Not ru_maxrss: that begins with the memory of the process which started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
