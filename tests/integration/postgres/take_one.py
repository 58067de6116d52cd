"""Takes one backup in a process of its own, to be watched and killed. Its order comes on stdin, as JSON."""

import json
import logging
import sys
from contextlib import ExitStack
from datetime import UTC, datetime

import boto3

from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.repository.client import client_config
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation
from tests.integration.postgres.lab import SOURCE, source_of


def main() -> None:
    order = json.load(sys.stdin)
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    logging.getLogger("botocore").setLevel(logging.INFO)
    client = boto3.client("s3", config=client_config(2), **order["client"])
    store = ObjectStore(client, bucket=order["bucket"], prefix=order["prefix"])
    with ExitStack() as stack:
        passphrase = order.get("passphrase")
        keyring = stack.enter_context(Keyring(Encryption(passphrase=passphrase))) if passphrase else None
        writer = BackupWriter(store, SOURCE, new_backup_id(datetime.now(UTC)), Codec(keyring=keyring))
        source = source_of(order["dsn"], **order["options"])
        logging.getLogger(__name__).debug("%r %r %r", source, writer, keyring)
        print(take_backup(source, PostgresEngine(), writer, Cancellation()).backup_id)


if __name__ == "__main__":
    main()
