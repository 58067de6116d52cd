"""What is compared: four ways to get a database into a bucket, one of which only pretends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from backup_playbook.core.errors import PlaybookError
from backup_playbook.engines.postgres.clients import find_clients
from backup_playbook.engines.postgres.copy_commands import copy_out, in_snapshot, pack_script, psql
from backup_playbook.engines.postgres.plan import PackStream, Stream, plan_streams
from backup_playbook.engines.postgres.snapshot import Snapshot
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation
from bench.measure import Contestant
from bench.stand import BUCKET, Stand
from bench.take_backup import postgres_server

STREAMS = 2
COMPRESSION_LEVEL = 1
"""Both as in include/config/sources.yaml."""

_STDERR_KEPT = 2000


class Program(Contestant):
    """Programs that store below a prefix of their own."""

    def __init__(self, stand: Stand, database: str, name: str, what: str, argv: Sequence[str]) -> None:
        self.name, self.what = name, what
        self._argv = argv
        self._client = stand.s3.client()
        self.prefix = f"{name}-{database}"
        self._environment = {**stand.environment(database), "S3_TARGET": f"s3://{BUCKET}/{self.prefix}"}

    def run(self) -> None:
        self.output = execute(self.name, self._argv, self._environment)

    def after(self) -> int:
        stored = 0
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        for item in (item for page in pages for item in page.get("Contents", ())):
            stored += item["Size"]
            self._client.delete_object(Bucket=BUCKET, Key=item["Key"])
        return stored


def playbook(stand: Stand, database: str) -> Program:
    script = Path(__file__).with_name("playbook.sh")
    return Program(
        stand,
        database,
        "playbook",
        "the playbook's script: `pg_dump > f; gzip f; aws s3 cp f; rm f`",
        ["bash", str(script)],
    )


def pg_dump_pipe(stand: Stand, database: str) -> Program:
    command = 'set -o pipefail; pg_dump -Fc "$DATABASE_URL" | aws s3 cp - "$S3_TARGET/backup.dump"'
    return Program(stand, database, "pg_dump_pipe", "`pg_dump -Fc | aws s3 cp -`", ["bash", "-c", command])


class This(Program):
    """A fresh Python process, its start-up included. `reports`: what each run said of itself, see take_backup.py."""

    def __init__(self, stand: Stand, database: str, name: str = "this", streams: int = STREAMS) -> None:
        what = f"this project: {streams} at once, SHA-256 of content and stored, zstd level {COMPRESSION_LEVEL}, sealed"
        arguments = ["--bucket", BUCKET, "--prefix", f"{name}-{database}", "--streams", str(streams)]
        arguments += ["--level", str(COMPRESSION_LEVEL)]
        super().__init__(stand, database, name, what, [sys.executable, "-m", "bench.take_backup", *arguments])
        self.reports: list[dict[str, Any]] = []

    def run(self) -> None:
        super().run()
        self.reports.append(json.loads(self.output))


class Limit(Contestant):
    """The engine's own plan with nothing done to the bytes: what the server and psql alone need.

    The snapshot and the plan are made before the clock starts.
    """

    name = "limit"
    what = f"the limit: the same COPY statements, {STREAMS} psql at once, output to /dev/null"

    def __init__(self, stand: Stand, database: str) -> None:
        self._server = postgres_server(stand.postgres.dsn(database))
        self._environment = self._server.environment(PGCLIENTENCODING="UTF8")
        self._open = ExitStack()

    def before(self) -> None:
        snapshot = self._open.enter_context(Snapshot(self._server, lock_timeout_seconds=5))
        contents = snapshot.contents
        program = psql(find_clients(contents.server.major).psql)
        self._jobs = [
            Job(stream.estimate, self._copy(program, snapshot.id, stream))
            for stream in plan_streams(contents.tables, STREAMS)
        ]

    def run(self) -> None:
        run_jobs(self._jobs, STREAMS, Cancellation())

    def after(self) -> int:
        self._open.close()
        return 0

    def _copy(self, program: list[str], snapshot_id: str, stream: Stream) -> Any:
        if isinstance(stream, PackStream):
            argv, script = [*program, "-f", "-"], pack_script(snapshot_id, stream.tables)
        else:
            argv, script = [*program, "-c", f"{in_snapshot(snapshot_id)}{copy_out(stream.table, stream.pages)}"], ""
        return lambda: execute("psql", argv, self._environment, stdin=script, discard=True)


def execute(
    name: str, argv: Sequence[str], environment: Mapping[str, str], *, stdin: str = "", discard: bool = False
) -> str:
    """Run to the end and return what it printed. Raises PlaybookError with its last words."""
    ended = subprocess.run(
        argv, env=dict(environment), input=stdin, stdout=subprocess.DEVNULL if discard else subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if ended.returncode != 0:
        raise PlaybookError(
            f"The contestant {name} ended with {ended.returncode}: {ended.stderr[-_STDERR_KEPT:].strip()}",
            "Correct what it says; nothing was written to the results.",
        )
    return ended.stdout or ""
