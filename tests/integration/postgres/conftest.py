import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backup_playbook.core.promotion import quarantine_name
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.client import client_config
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.encryption import Encryption
from embedded.postgres import PostgresServer, client_bin_dirs
from embedded.processes import choose_port
from embedded.s3 import S3Gateway
from tests.conftest import Bucket
from tests.integration.postgres.incident import Incident
from tests.integration.postgres.lab import FIXTURES, SOURCE, Lab, host_of, load_sql, wait_until
from tests.integration.postgres.pair import NOW, Pair

Database = Callable[..., str]
MakeScratch = Callable[..., ScratchDatabase]


@pytest.fixture(autouse=True, scope="session")
def clients() -> Iterator[None]:
    """Client programs of every version that this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKUP_PLAYBOOK_PG_CLIENTS", os.pathsep.join(map(str, client_bin_dirs())))
        yield


@pytest.fixture
def lab(s3: S3Gateway, bucket: Bucket, tmp_path: Path) -> Lab:
    return Lab(s3, ObjectStore(s3.client(client_config(2)), bucket=bucket.name, prefix="a/prefix"), tmp_path)


@pytest.fixture
def scratch(postgres18: PostgresServer) -> Iterator[Callable[..., ScratchDatabase]]:
    """`scratch(server, **options)` names scratch databases; they are dropped after the test."""
    made: list[ScratchDatabase] = []

    def make(server: PostgresServer = postgres18, **options: Any) -> ScratchDatabase:
        host = host_of(server.dsn())
        made.append(ScratchDatabase(host, scratch_name(SOURCE), "test", RestoreOptions(**options)))
        return made[-1]

    yield make
    for item in made:
        item.drop()


@pytest.fixture
def incident(
    lab: Lab, postgres18: PostgresServer, database: Database, scratch: MakeScratch, tmp_path: Path
) -> Callable[[str], Incident]:
    """`incident(sql)`: a database made by it, and its backup."""

    def make(definitions: str) -> Incident:
        name = database()
        with postgres18.connect(name) as session:
            session.execute(definitions.encode())
        return Incident(lab, postgres18, name, scratch, tmp_path)

    return make


@pytest.fixture
def pgbouncer(postgres18: PostgresServer) -> Iterator[Callable[[str], str]]:
    """`pgbouncer(database)`: a DSN that leads to it through pgbouncer in transaction mode."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    # it refuses to run as root, and whom it becomes must be able to read its configuration
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    directory.chmod(0o755)
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    children = []

    def start(database: str) -> str:
        port = choose_port()
        (directory / "pgbouncer.ini").write_text(
            f"[databases]\n{database} = {postgres18.dsn(database)}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\n"
        )
        argv = [program, "-q", *user, directory / "pgbouncer.ini"]
        children.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL))
        dsn = f"host=127.0.0.1 port={port} dbname={database} user=anybody"
        wait_until(lambda: answers(dsn))
        return dsn

    yield start
    for child in children:
        child.terminate()
        child.wait()
    shutil.rmtree(directory)


def answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def pair(postgres18: PostgresServer, database: Database) -> Iterator[Pair]:
    live, candidate = database(), database()
    for name, note in ((live, "old"), (candidate, "new")):
        with postgres18.connect(name) as session:
            session.execute(f"CREATE TABLE notes AS SELECT '{note}' AS v")
    yield Pair(postgres18, live, candidate, quarantine_name(live, NOW))
    postgres18.drop_database(quarantine_name(live, NOW))


@dataclass(frozen=True)
class GpgHome:
    """A person's own gpg home with a key pair, and what the configuration of a source holds of it."""

    directory: Path
    encryption: Encryption
    """Can decrypt."""
    public_only: Encryption


@pytest.fixture(scope="session")
def gpg_home() -> Iterator[GpgHome]:
    # not below pytest's directory: the agent's socket path has a length limit
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    recipient = "backup@example.com"
    try:
        _gpg(home, "--passphrase", "", "--quick-generate-key", recipient, "future-default", "default", "never")
        public, private = _gpg(home, "--export", recipient), _gpg(home, "--export-secret-keys", recipient)
        yield GpgHome(
            home,
            Encryption(recipients=(recipient,), public_keys=public, private_key=private),
            Encryption(recipients=(recipient,), public_keys=public),
        )
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def _gpg(home: Path, *words: str) -> bytes:
    return subprocess.run(["gpg", "--homedir", home, "--batch", *words], check=True, capture_output=True).stdout


@pytest.fixture(scope="session")
def small(postgres18: PostgresServer) -> str:
    """A database that tests read only: a table of several chunks, small tables, sequences and a large object."""
    name = "small"
    postgres18.create_database(name)
    with postgres18.connect(name) as session:
        session.execute("CREATE TABLE measurements (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)")
        session.execute("INSERT INTO measurements (v) SELECT md5(i::text) FROM generate_series(1, 6000) i")
        session.execute("CREATE TABLE notes (id int, v text)")
        session.execute("INSERT INTO notes VALUES (1, 'first'), (2, 'second')")
        session.execute("CREATE TABLE empty (id int)")
        session.execute("SELECT lo_from_bytea(0, 'a large object')")
    return name


@pytest.fixture
def everything(database: Database) -> Iterator[Callable[[PostgresServer], str]]:
    """A database with one of every kind of object, and with settings that change how values are written."""
    made: list[tuple[PostgresServer, str]] = []

    def make(server: PostgresServer) -> str:
        name = database(server)
        made.append((server, name))
        load_sql(server, name, FIXTURES / "everything.sql", FIXTURES / "hostile_settings.sql")
        return name

    yield make
    for server, name in made:
        with server.connect(name) as session:
            session.execute("SET default_transaction_read_only = off")
            for (subscription,) in session.execute(
                "SELECT quote_ident(subname) FROM pg_subscription JOIN pg_database d ON d.oid = subdbid "
                "WHERE datname = current_database()"
            ).fetchall():
                session.execute(f"ALTER SUBSCRIPTION {subscription} DISABLE")
                session.execute(f"ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE)")
                session.execute(f"DROP SUBSCRIPTION {subscription}")
