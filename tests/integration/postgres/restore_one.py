"""Restores one backup in a process of its own, to be killed. Its order comes on stdin, as JSON."""

import json
import sys

import boto3

from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from tests.integration.postgres.lab import SOURCE, host_of


def main() -> None:
    order = json.load(sys.stdin)
    client = boto3.client("s3", config=client_config(2), **order["client"])
    catalog = Catalog(ObjectStore(client, bucket=order["bucket"], prefix=order["prefix"]))
    reader = open_backup(catalog, PostgresEngine(), SOURCE, order["backup_id"], Codec())
    target = ScratchDatabase(host_of(order["dsn"]), order["scratch"], "killed")
    target.create(reader.manifest)
    target.restore(reader, Cancellation())


if __name__ == "__main__":
    main()
