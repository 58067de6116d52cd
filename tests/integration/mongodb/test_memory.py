"""How much memory the largest documents take, each phase in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import bson
import pytest

from backup_playbook.engines.scratch import scratch_name
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import server_of
from tests.integration.postgres.lab import SOURCE, Lab

PROJECT = Path(__file__).resolve().parents[3]
MOST_MIB = 300


@pytest.mark.timeout(400)
def test_documents_of_16_megabytes_take_less_than_300(lab: Lab, mongo_database: MongoDatabase) -> None:
    """Random bytes, which do not become less on their way; as many collections as streams."""
    room = (16 << 20) - len(bson.encode({"_id": 0, "content": b""}))
    for number in range(10):
        mongo_database[f"c{number % 2}"].insert_one({"_id": number, "content": os.urandom(room)})
    scratch = scratch_name(SOURCE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT / "plugins"), str(PROJECT)])}
    order = {
        "uri": server_of(mongo_database).uri,
        "database": mongo_database.name,
        "scratch": scratch,
        "bucket": lab.store.bucket,
        "prefix": lab.store.prefix,
        "client": {
            "endpoint_url": lab.s3.endpoint_url,
            "region_name": lab.s3.region,
            "aws_access_key_id": lab.s3.access_key,
            "aws_secret_access_key": lab.s3.secret_key,
        },
    }
    backup_id, peaks = "", {}
    try:
        for phase in ("dump", "verify", "restore", "prove"):
            answer = subprocess.run(
                [sys.executable, "-m", "tests.integration.mongodb.one_phase"],
                input=json.dumps({**order, "phase": phase, "backup_id": backup_id}),
                cwd=PROJECT, env=environment, text=True, capture_output=True, check=False,
            )  # fmt: skip
            assert answer.returncode == 0, answer.stderr[-3000:]
            found = json.loads(answer.stdout)
            backup_id, peaks[phase] = found["backup_id"], found["mib"]
    finally:
        mongo_database.client.drop_database(scratch)
    assert max(peaks.values()) < MOST_MIB, peaks
