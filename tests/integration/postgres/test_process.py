"""The dump as a process: what it shows of its secrets, how much memory it takes, and what a SIGKILL leaves behind."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from backup_playbook.repository.client import client_config
from backup_playbook.repository.removal import sweep
from backup_playbook.repository.store import ObjectStore
from embedded.postgres import PostgresServer
from embedded.s3 import S3Gateway
from tests.integration.postgres.lab import SOURCE, Lab, source_of, wait_until

PROJECT = Path(__file__).resolve().parents[3]
MIB = 1 << 20


def start(lab: Lab, dsn: str, **order: Any) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT / "plugins"), str(PROJECT)])}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.postgres.take_one"],
        cwd=PROJECT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    client = {
        "endpoint_url": lab.s3.endpoint_url,
        "region_name": lab.s3.region,
        "aws_access_key_id": lab.s3.access_key,
        "aws_secret_access_key": lab.s3.secret_key,
    }
    place = {"bucket": lab.store.bucket, "prefix": lab.store.prefix}
    assert child.stdin is not None
    json.dump({"dsn": dsn, "client": client, "options": {}, **place, **order}, child.stdin)
    child.stdin.close()
    child.stdin = None
    return child


def family(child: "subprocess.Popen[str]") -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(child.pid)
        return [parent, *parent.children(recursive=True)]
    return []


def fill(server: PostgresServer, database: str, megabytes: int) -> None:
    with server.connect(database) as session:
        session.execute("CREATE TABLE big (id int, v text)")
        session.execute(
            "INSERT INTO big SELECT i, repeat(md5(i::text), 50) FROM generate_series(1, %s) i",
            [megabytes * MIB // 1640],
        )
        session.execute("CREATE TABLE small (id serial, v text)")


@dataclass
class Observed:
    """A dump of 200 MB, as anybody on its machine can watch it."""

    secrets: list[str]
    commands: set[str]
    peak_bytes: int
    log: str
    documents: list[str]


@pytest.fixture(scope="module")
def observed(s3: S3Gateway, postgres18: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    password, passphrase = secrets.token_hex(16), secrets.token_hex(16)
    postgres18.create_database("observed")
    fill(postgres18, "observed", 200)
    with postgres18.connect() as session:
        session.execute(f"CREATE ROLE observed SUPERUSER LOGIN PASSWORD '{password}'")
    s3.create_bucket("observed")
    store = ObjectStore(s3.client(client_config(2)), bucket="observed", prefix="p")
    lab = Lab(s3, store, tmp_path_factory.mktemp("observed"))
    try:
        dsn = postgres18.dsn("observed", user="observed", password=password)
        child = start(lab, dsn, passphrase=passphrase)
        commands, peak = set(), 0
        while child.poll() is None:
            total = 0
            for process in family(child):
                with suppress(psutil.Error):
                    commands.add("\0".join(process.cmdline()))
                    total += process.memory_info().rss
            peak = max(peak, total)
        output, log = child.communicate()
        assert child.returncode == 0, log
        manifest = lab.catalog.manifest(SOURCE, output.strip())
        documents = [manifest.to_json().decode(), lab.restore_script(manifest), output]
        yield Observed([password, passphrase, s3.secret_key], commands, peak, log, documents)
    finally:
        postgres18.drop_database("observed")
        with postgres18.connect() as session:
            session.execute("DROP ROLE observed")


def test_no_secret_shows(observed: Observed) -> None:
    programs = {Path(word).name for command in observed.commands for word in command.split("\0")[:4]}
    assert {"psql", "pg_dump", "gpg"} <= programs, "the sampling was too slow to see what it must look at"
    seen = "\n".join([*observed.commands, observed.log, *observed.documents])
    assert [secret for secret in observed.secrets if secret in seen] == []


def test_memory_does_not_grow_with_the_database(observed: Observed) -> None:
    assert observed.peak_bytes < 300 * MIB


@pytest.mark.faults
def test_killed_at_any_point(lab: Lab, postgres18: PostgresServer, database: Callable[..., str]) -> None:
    """Nothing counts as a backup, no program lingers, the next run succeeds and the sweep takes what is left."""
    name = database()
    fill(postgres18, name, 60)
    dsn = postgres18.dsn(name)
    options = {"chunk_bytes": 8 * MIB}

    def running(program: str) -> bool:
        return any(program in process.name() for process in family(child) if process.is_running())

    points: list[Callable[[], object]] = [
        lambda: running("psql") or running("pg_dump"),
        lambda: any(lab.store.list("objects/")),
        lambda: len(list(lab.store.list("objects/"))) >= 4,
    ]
    for reached in points:
        lab.store.delete([item.key for item in lab.store.list("objects/")])
        child = start(lab, dsn, options=options)
        wait_until(lambda: reached() or child.poll() is not None, 60)  # noqa: B023
        children = family(child)[1:]
        child.kill()
        _, log = child.communicate()
        assert child.returncode == -9, log
        assert lab.catalog.backups(SOURCE) == []
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []

    manifest = lab.backup(source_of(dsn, **options))
    sweep(lab.catalog, SOURCE, timedelta(0), datetime.now(UTC) + timedelta(hours=1))
    lab.verify(manifest)
    assert {key.split("/")[2] for key in lab.leftovers()} == {manifest.backup_id}
