"""What the tests of the Postgres engine share: take a backup, look at what is left, restore it, compare databases."""

import difflib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from backup_playbook.core.errors import SourceError
from backup_playbook.core.evidence import Verified
from backup_playbook.core.model import Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.core.proof import Proof
from backup_playbook.engines.backup import Depth, Verification, take_backup
from backup_playbook.engines.contract import Engine, Source, Target
from backup_playbook.engines.postgres import connection
from backup_playbook.engines.postgres.dump import PostgresSource
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.scratch import ScratchServer
from backup_playbook.engines.restore import open_backup
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import RESTORE_SCRIPT, catalog_folder
from backup_playbook.repository.objects import BackupReader, BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from embedded.s3 import S3Gateway

SOURCE = "shop"
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
BACKUP_ROLE_SCRIPT = Path(__file__).resolve().parents[3] / "include" / "sql" / "backup_role.sql"
BACKUP_PASSWORD = "correct horse"
# tables of everything.sql are small: with these, packs, single streams and chunks all occur
SMALL_CHUNKS = 24 << 10
# `aws s3 cp <url> -` starts for most of a second, forty times a test; curl speaks S3 too
FAST_AWS = r"""#!/bin/sh
exec curl -sSf -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" --aws-sigv4 "aws:amz:$AWS_DEFAULT_REGION:s3" \
    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$AWS_ENDPOINT_URL_S3/${4#s3://}"
"""


def server_of(dsn: str) -> connection.PostgresServer:
    keywords = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    return connection.PostgresServer(keywords, keywords.pop("password", None))


def host_of(dsn: str) -> ScratchServer:
    """A server for scratches that knows of no production."""
    return ScratchServer(server_of(dsn), production=tuple)


def source_of(dsn: str, **options: Any) -> PostgresSource:
    return PostgresSource(server_of(dsn), **options)


@dataclass
class Lab:
    """A repository, and what can be done with it."""

    s3: S3Gateway
    store: ObjectStore
    directory: Path
    codec: Codec = field(default_factory=Codec)
    engine: Engine = field(default_factory=PostgresEngine)

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.store)

    def writer(self) -> BackupWriter:
        return BackupWriter(self.store, SOURCE, new_backup_id(datetime.now(UTC)), self.codec)

    def backup(self, source: Source) -> Manifest:
        return take_backup(source, self.engine, self.writer(), Cancellation())

    def refused(self, source: Source) -> SourceError:
        """The error of a backup that must fail; and nothing is left of it."""
        with pytest.raises(SourceError) as caught:
            self.backup(source)
        assert self.leftovers() == []
        return caught.value

    def verify(self, manifest: Manifest, depth: Depth = Depth.FULL, codec: Codec | None = None) -> Verified:
        verification = Verification(self.catalog, self.engine, codec or self.codec, depth)
        return verification.run(SOURCE, manifest.backup_id, Cancellation(), manifest.seal)

    @property
    def cancellation(self) -> Cancellation:
        """One that nobody uses."""
        return Cancellation()

    def reader(self, manifest: Manifest) -> BackupReader:
        return open_backup(self.catalog, self.engine, SOURCE, manifest.backup_id, self.codec)

    def restore_into(self, target: Target, manifest: Manifest) -> dict[str, float]:
        target.create(manifest)
        return target.restore(self.reader(manifest), Cancellation())

    def prove(self, target: Target, manifest: Manifest) -> Proof:
        return target.prove(self.reader(manifest), Cancellation())

    def leftovers(self) -> list[str]:
        """Everything in the repository; after a failed run there is nothing."""
        keys = [item.key for folder in ("objects/", "catalog/") for item in self.store.list(folder)]
        return keys + [upload.key for upload in self.store.unfinished_uploads("objects/")]

    def stored_file(self, key: str) -> Path:
        """The plain file in which the gateway keeps an object."""
        return self.s3.buckets / self.store.bucket / self.store.path(key)

    def restore_script(self, manifest: Manifest) -> str:
        return self.store.get(catalog_folder(SOURCE, manifest.backup_id) + RESTORE_SCRIPT).decode()

    def restore(
        self, manifest: Manifest, server: PostgresServer, database: str, *, real_aws: bool = False, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run the restore.sh that lies beside the manifest, with nothing of ours in its environment."""
        script = self.directory / "restore.sh"
        script.write_text(self.restore_script(manifest))
        tools = self.directory / "tools"
        tools.mkdir(exist_ok=True)
        aws = tools / "aws"
        if not aws.exists():
            aws.write_text(FAST_AWS)
            aws.chmod(0o755)
        found = [server.bin_dir, Path(sys.executable).parent if real_aws else tools, "/usr/bin", "/bin"]
        dsn = conninfo_to_dict(server.dsn(database))
        base = {
            "PATH": os.pathsep.join(map(str, found)),
            "HOME": str(self.directory),
            "PGPASSWORD": str(dsn["password"]),
            **self.s3.shell_environment(),
        }
        target = f"host={dsn['host']} port={dsn['port']} user={dsn['user']} dbname={dsn['dbname']}"
        return subprocess.run(
            [shutil.which("bash") or "bash", str(script), target],
            env=base | environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )


def dump_text(server: PostgresServer, database: str, *options: str) -> list[str]:
    """What pg_dump says of a database; without the random keys that newer versions write."""
    argv = [server.bin_dir / "pg_dump", "--no-subscriptions", *options, "-d", server.dsn(database)]
    environment = {**os.environ, "PGCLIENTENCODING": "UTF8"}
    result = subprocess.run(argv, env=environment, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    lines = result.stdout.decode(errors="surrogateescape").split("\n")
    return [line for line in lines if not line.startswith(("\\restrict ", "\\unrestrict "))]


def without(lines: list[str], *kinds: str) -> list[str]:
    """The text of pg_dump without its entries of these types."""
    kept, keep = [], True
    for line in lines:
        if match := re.match(r"-- (?:Data for )?Name: .*; Type: ([A-Z ]+);", line):
            keep = match[1] not in kinds
        if keep and line.strip("-") and not line.startswith("SET default_"):
            kept.append(line)
    return kept


def load_sql(server: PostgresServer, database: str, *files: Path) -> None:
    argv = [server.bin_dir / "psql", "-X", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", "-d", server.dsn(database)]
    subprocess.run([*argv, *(word for file in files for word in ("-f", file))], check=True)


def backup_role_dsn(server: PostgresServer, database: str) -> str:
    """As the role of include/sql/backup_role.sql, which is made when the server has none."""
    with server.connect() as session:
        exists = session.execute("SELECT 1 FROM pg_roles WHERE rolname = 'backup'").fetchone()
    if not exists:
        argv = [server.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.dsn(database)]
        environment = {**os.environ, "BACKUP_PASSWORD": BACKUP_PASSWORD}
        subprocess.run([*argv, "-f", BACKUP_ROLE_SCRIPT], env=environment, check=True)
    return server.dsn(database, user="backup", password=BACKUP_PASSWORD)


def assert_restored(result: "subprocess.CompletedProcess[str]") -> None:
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Restored and checked" in result.stdout


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def assert_same(found: list[str], expected: list[str]) -> None:
    """Fails with the lines that differ; pytest's own comparison of 10,000 lines takes minutes."""
    if found != expected:
        pytest.fail("\n".join([*difflib.unified_diff(expected, found, "source", "restored", lineterm="", n=1)][:60]))
