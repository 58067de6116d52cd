"""What goes wrong while rows are streaming: a clear error, nothing is left, and the next run succeeds."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from backup_playbook.core.errors import AlreadySealedError, CancelledError, PlaybookError, RepositoryError, SourceError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.postgres.connection import APPLICATION_NAME
from backup_playbook.engines.postgres.dump import PostgresSource
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.repository.layout import MANIFEST
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from embedded.toxiproxy import Proxy, Toxiproxy
from tests.integration.postgres.lab import SOURCE, Lab, source_of, wait_until

pytestmark = pytest.mark.faults


class InterruptedWriter(BackupWriter):
    """Lets something happen once, after the first block of the first table with a stream of its own."""

    def __init__(self, lab: Lab, happen: Callable[[], object]) -> None:
        super().__init__(lab.store, SOURCE, new_backup_id(datetime.now(UTC)), lab.codec)
        self._happen: Callable[[], object] | None = happen

    def write(self, name: str, kind: ObjectKind, blocks: Blocks, *, estimate: int = 0) -> StoredObject:
        passing = self._interrupted(blocks) if kind is ObjectKind.TABLE else blocks
        return super().write(name, kind, passing, estimate=estimate)

    def _interrupted(self, blocks: Blocks) -> Iterator[bytes]:
        for block in blocks:
            happen, self._happen = self._happen, None
            if happen:
                happen()
            yield block


def backup_while(lab: Lab, source: PostgresSource, happen: Callable[[], object]) -> Manifest:
    return take_backup(source, PostgresEngine(), InterruptedWriter(lab, happen), Cancellation())


def refused_while(lab: Lab, source: PostgresSource, happen: Callable[[], object]) -> SourceError:
    with pytest.raises(SourceError) as caught:
        backup_while(lab, source, happen)
    assert lab.leftovers() == []
    return caught.value


@pytest.fixture
def busy(postgres18: PostgresServer, database: Callable[..., str]) -> str:
    """A table of 40 MB, more than fits into the pipes and sockets between server and worker, and two small ones."""
    name = database()
    with postgres18.connect(name) as session:
        fill(session)
    return name


def fill(session: psycopg.Connection) -> None:
    session.execute(
        "CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 50) AS v FROM generate_series(1, 25000) i"
    )
    session.execute("CREATE TABLE small (id serial, v text)")
    session.execute("CREATE TABLE parent (id int) PARTITION BY RANGE (id)")
    session.execute("CREATE TABLE child PARTITION OF parent FOR VALUES FROM (0) TO (10)")


def source_at(dsn: str, **options: float) -> PostgresSource:
    """`big` has one stream of its own, and nothing runs beside it."""
    return source_of(dsn, streams=1, chunk_bytes=30 << 20, **options)


def test_locks_hold_migrations_off(lab: Lab, postgres18: PostgresServer, busy: str) -> None:
    """One that gives up in time, as a careful migration does, does not disturb the backup."""
    refused = []

    def migrate() -> None:
        with postgres18.connect(busy) as session:
            session.execute("SET lock_timeout = '100ms'")
            for table in ("big", "small", "parent"):
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    session.execute(f"ALTER TABLE {table} ADD COLUMN more int")
                refused.append(table)

    manifest = backup_while(lab, source_at(postgres18.dsn(busy)), migrate)
    lab.verify(manifest)
    assert refused == ["big", "small", "parent"]


@pytest.mark.parametrize("table", ["small", "child"])
def test_a_migration_that_queues_without_end(table: str, lab: Lab, postgres18: PostgresServer, busy: str) -> None:
    """It waits for the snapshot's locks, the streams wait for it, and no deadlock detector sees the circle."""
    threads, pids = [], []

    def migrate() -> None:
        with postgres18.connect(busy) as session:
            pids.append(session.info.backend_pid)
            session.execute(f"ALTER TABLE {table} ADD CHECK (true)")

    def queue() -> None:
        threads.append(threading.Thread(target=migrate))
        threads[0].start()
        with postgres18.connect(busy) as session:
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
            wait_until(lambda: session.execute(waiting, [table]).fetchone())

    error = refused_while(lab, source_at(postgres18.dsn(busy), lock_timeout_seconds=0.3), queue)
    threads[0].join(20)
    assert "stayed locked for 0.3 s" in error.what
    assert f"public.{table} by pid {pids[0]} (postgres): ALTER TABLE {table} ADD CHECK (true)" in error.what
    assert not threads[0].is_alive(), "the migration still waits: the failed backup kept its locks"


def terminate(server: PostgresServer, database: str, which: str) -> None:
    with server.connect() as session:
        ended = session.execute(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = %s AND application_name = %s AND {which}",
            [database, APPLICATION_NAME],
        ).fetchall()
    assert ended == [(True,)]


def test_the_backend_that_holds_the_snapshot_is_terminated(lab: Lab, postgres18: PostgresServer, busy: str) -> None:
    error = refused_while(
        lab,
        source_at(postgres18.dsn(busy)),
        lambda: terminate(postgres18, busy, "state = 'idle in transaction' AND query NOT LIKE '%%COPY%%'"),
    )
    assert "snapshot" in error.what
    assert "server's log" in error.remedy


def test_the_backend_of_a_stream_is_terminated(lab: Lab, postgres18: PostgresServer, busy: str) -> None:
    source = source_at(postgres18.dsn(busy))
    error = refused_while(lab, source, lambda: terminate(postgres18, busy, "query LIKE '%%COPY%%'"))
    assert "could not be read to the end" in error.what
    assert "connection to server was lost" in error.what
    assert "server's log" in error.remedy
    lab.verify(lab.backup(source))


def test_a_sequence_is_dropped(lab: Lab, postgres18: PostgresServer, busy: str) -> None:
    """Nothing locks sequences; pg_dump has the same gap."""

    def drop() -> None:
        with postgres18.connect(busy) as session:
            session.execute("DROP SEQUENCE standalone")

    with postgres18.connect(busy) as session:
        session.execute("CREATE SEQUENCE standalone")
    error = refused_while(lab, source_at(postgres18.dsn(busy)), drop)
    assert "standalone" in error.what


@pytest.fixture(scope="session")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    daemon = Toxiproxy(tmp_path_factory.mktemp("toxiproxy"))
    try:
        yield daemon.start()
    finally:
        daemon.stop()


@pytest.fixture
def proxy(toxiproxy: Toxiproxy, postgres18: PostgresServer, busy: str) -> Proxy:
    return toxiproxy.proxy(busy, postgres18.port)


def reset(proxy: Proxy) -> None:
    """Toxiproxy adds a toxic between two writes, and those of a full connection wait for us to read on."""
    adding = threading.Thread(target=proxy.add_toxic, args=["reset_peer"], kwargs={"timeout": 0})
    adding.start()
    adding.join(1)


@pytest.mark.parametrize("cut", [Proxy.cut, reset], ids=["closed", "reset"])
def test_the_connection_is_cut(
    cut: Callable[[Proxy], None], lab: Lab, postgres18: PostgresServer, busy: str, proxy: Proxy
) -> None:
    dsn = psycopg.conninfo.make_conninfo(postgres18.dsn(busy), port=proxy.port)
    error = refused_while(lab, source_at(dsn), lambda: cut(proxy))
    assert busy in error.what
    assert "server's log" in error.remedy
    lab.verify(lab.backup(source_at(postgres18.dsn(busy))))


def test_the_server_crashes(lab: Lab, tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "crashing")
    try:
        server.start()
        with server.connect() as session:
            fill(session)
        error = refused_while(lab, source_at(server.dsn()), server.kill)
        assert "server closed the connection" in error.what
        server.start()
        lab.verify(lab.backup(source_at(server.dsn())))
    finally:
        server.remove()


def test_a_cancelled_task(lab: Lab, postgres18: PostgresServer, busy: str) -> None:
    cancellation = Cancellation()
    writer = InterruptedWriter(lab, cancellation.cancel)
    with pytest.raises(CancelledError):
        take_backup(source_at(postgres18.dsn(busy)), PostgresEngine(), writer, cancellation)
    assert lab.leftovers() == []


def test_a_backup_id_that_is_taken(lab: Lab, postgres18: PostgresServer, busy: str) -> None:
    """The backup that has it is not touched."""
    source = source_at(postgres18.dsn(busy))
    manifest = lab.backup(source)
    before = lab.leftovers()
    again = BackupWriter(lab.store, SOURCE, manifest.backup_id, lab.codec)
    with pytest.raises(AlreadySealedError, match="exists already"):
        take_backup(source, PostgresEngine(), again, Cancellation())
    assert lab.leftovers() == before
    lab.verify(manifest)


def test_the_answer_to_the_manifest_is_lost(
    lab: Lab, postgres18: PostgresServer, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run cannot know that its backup exists; it must not take it apart."""
    put_once = ObjectStore.put_once

    def lose(self: ObjectStore, key: str, body: bytes) -> None:
        put_once(self, key, body)
        if key.endswith(MANIFEST):
            raise RepositoryError("no answer", "Try again.")

    monkeypatch.setattr(ObjectStore, "put_once", lose)
    with pytest.raises(PlaybookError, match="no answer"):
        lab.backup(source_at(postgres18.dsn(busy)))
    monkeypatch.undo()
    (entry,) = lab.catalog.backups(SOURCE)
    lab.verify(lab.catalog.manifest(SOURCE, entry.backup_id))


def test_schemas_that_change_places(lab: Lab, postgres18: PostgresServer, busy: str) -> None:
    """Locks on tables do not hold this off, and the streams find the rows of the other one under a table's name."""
    with postgres18.connect(busy) as session:
        session.execute("CREATE SCHEMA app; CREATE SCHEMA next")
        session.execute("CREATE TABLE app.prices AS SELECT 1 AS price; CREATE TABLE next.prices AS SELECT 2 AS price")

    def change_places() -> None:
        with postgres18.connect(busy) as session, session.transaction():
            for old, new in (("app", "before"), ("next", "app"), ("before", "next")):
                session.execute(f"ALTER SCHEMA {old} RENAME TO {new}")

    error = refused_while(lab, source_at(postgres18.dsn(busy)), change_places)
    assert "A schema of" in error.what
    assert "app.prices is next.prices now" in error.what
    lab.verify(lab.backup(source_at(postgres18.dsn(busy))))
