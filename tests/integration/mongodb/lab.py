"""What the tests of the MongoDB engine share: a source, a scratch, restore.sh, and what a database holds."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import bson

from backup_playbook.core.model import Manifest
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.scratch import MongoScratch, MongoScratchServer
from backup_playbook.engines.scratch import scratch_name
from tests.conftest import MongoDatabase
from tests.integration.postgres.lab import FAST_AWS, SOURCE, Lab

MONGORESTORE = Path(__file__).with_name("mongorestore.py")
IMPATIENT = {"serverSelectionTimeoutMS": 3000}


def server_of(database: MongoDatabase, **options: Any) -> MongoServer:
    host, port = database.client.address or ("", 0)
    return MongoServer(f"mongodb://{host}:{port}/", database.name, {**IMPATIENT, **options})


def source_of(database: MongoDatabase, **options: Any) -> MongoSource:
    return MongoSource(server_of(database), **options)


def host_of(server: MongoServer) -> MongoScratchServer:
    """A server for scratches that knows of no production."""
    return MongoScratchServer(server, production=tuple)


def scratch_of(database: MongoDatabase, **options: Any) -> MongoScratch:
    return MongoScratch(host_of(server_of(database)), scratch_name(SOURCE), "test", **options)


def contents(database: MongoDatabase) -> dict[str, Any]:
    """By collection, every byte in the order of the `_id`s, and the indexes."""
    found = {}
    for name in sorted(database.list_collection_names()):
        raw = b"".join(database[name].find_raw_batches(sort=[("_id", 1)]))
        indexes = sorted((dict(index) for index in database[name].list_indexes()), key=lambda index: index["name"])
        found[name] = (raw, [bson.encode(dict(sorted(index.items()))) for index in indexes])
    return found


def restore_sh(lab: Lab, manifest: Manifest, target: MongoDatabase, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run the restore.sh that lies beside the manifest, with nothing of ours in its environment.

    mongorestore cannot be installed here: `mongorestore.py` reads what restore.sh gives it, as the real one would.
    """
    script, tools = lab.directory / "restore.sh", lab.directory / "tools"
    script.write_text(lab.restore_script(manifest))
    tools.mkdir(exist_ok=True)
    # names of objects have signs in them that curl takes for its own
    aws = FAST_AWS.replace("${4#s3://}", '$(printf %s "${4#s3://}" | sed s/%/%25/g)')
    stand_in = f'#!/bin/sh\nexec "{sys.executable}" "{MONGORESTORE}" "$@"\n'
    for name, text in (("aws", aws), ("mongorestore", stand_in)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    host, port = target.client.address or ("", 0)
    environment = {
        "PATH": os.pathsep.join([str(tools), "/usr/bin", "/bin"]),
        "HOME": str(lab.directory),
        "MONGODB_URI": f"mongodb://{host}:{port}/",
        **lab.s3.shell_environment(),
        **more,
    }
    return subprocess.run(
        ["bash", str(script), target.name],
        env=environment, cwd=lab.directory, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
