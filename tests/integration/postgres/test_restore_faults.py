"""Restores that cannot work: refused before anything is written where possible, and never quietly incomplete."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup_playbook.core.errors import (
    CancelledError,
    EncryptionError,
    PlaybookError,
    RepositoryError,
    VerificationError,
)
from backup_playbook.core.model import Manifest, ObjectKind
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.restore import open_backup
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.client import client_config
from backup_playbook.repository.layout import objects_folder
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.blocks import Digest
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from tests.integration.postgres.conftest import Database, MakeScratch
from tests.integration.postgres.lab import SOURCE, Lab, host_of, source_of, wait_until
from tests.support.damage import flip_a_bit
from tests.support.s3_proxy import Fault, Request, S3Proxy

Change = Callable[[bytes], bytes]


@pytest.fixture
def manifest(lab: Lab, postgres18: PostgresServer, small: str) -> Manifest:
    return lab.backup(source_of(postgres18.dsn(small), chunk_bytes=64 << 10))


def refused(lab: Lab, manifest: Manifest, target: ScratchDatabase) -> PlaybookError:
    """The error of a restore into an empty scratch that must fail."""
    with pytest.raises(PlaybookError) as caught:
        target.restore(lab.reader(manifest), Cancellation())
    return caught.value


def rows_in(server: PostgresServer, database: str) -> dict[str, int]:
    with server.connect(database) as session:
        names = session.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384").fetchall()
        return {name: session.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0] for (name,) in names}


# --- damage in the repository -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [ObjectKind.SCHEMA, ObjectKind.TABLE, ObjectKind.PACK, ObjectKind.SEQUENCES, ObjectKind.LARGE_OBJECTS],
)
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_object(
    kind: ObjectKind, damage: str, lab: Lab, manifest: Manifest, postgres18: PostgresServer, scratch: MakeScratch
) -> None:
    target = scratch()
    target.create(manifest)
    item = [item for item in manifest.objects if item.kind is kind][-1]
    file = lab.stored_file(objects_folder(SOURCE, manifest.backup_id) + item.name)
    if damage == "gone":
        file.unlink()
    elif damage == "flipped":
        flip_a_bit(file)
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    error = refused(lab, manifest, target)
    assert isinstance(error, RepositoryError if damage == "gone" else VerificationError)
    assert item.name in error.what
    # nothing of a damaged object is ever visible
    found = rows_in(postgres18, target.name)
    if kind is ObjectKind.SCHEMA:
        assert found == {}
    if kind is ObjectKind.TABLE:
        assert found["measurements"] == 0
    if kind is ObjectKind.PACK:
        assert found["notes"] == 0
    if kind is ObjectKind.LARGE_OBJECTS:
        with postgres18.connect(target.name) as session:
            assert session.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchall() == [(0,)]


PACK_CHANGES: dict[str, Change] = {
    "SQL after a table": lambda pack: pack + b"DROP TABLE measurements;\n\\.\n",
    "a command of psql": lambda pack: b"\\! touch hacked\n\\.\n" + pack,
    "another statement": lambda pack: pack.replace(b"FROM stdin;", b"FROM PROGRAM 'touch hacked';", 1),
    "another table": lambda pack: pack.replace(b'"notes"', b'"empty"', 1),
    "a table twice": lambda pack: pack + pack,
    "rows": lambda pack: pack.replace(b"second", b"SECOND"),
}


@pytest.mark.parametrize("change", PACK_CHANGES)
def test_a_pack_is_never_run(
    change: str, lab: Lab, manifest: Manifest, postgres18: PostgresServer, scratch: MakeScratch
) -> None:
    """Even when whoever edited it knew how to make the manifest agree."""
    target = scratch()
    target.create(manifest)
    forged = forge(lab, manifest, ObjectKind.PACK, PACK_CHANGES[change])
    with pytest.raises(VerificationError, match=r"A pack (goes on with|has other rows)"):
        target.restore(BackupReader(lab.store, forged, lab.codec), Cancellation())
    # all of a table or nothing of it
    rows = rows_in(postgres18, target.name)
    assert (rows["measurements"] in (0, 6000), rows["notes"] in (0, 2), rows["empty"]) == (True, True, 0)
    assert not list(Path.cwd().glob("hacked"))


def test_sequences_are_never_run_as_sql(lab: Lab, manifest: Manifest, scratch: MakeScratch) -> None:
    target = scratch()
    target.create(manifest)
    forged = forge(lab, manifest, ObjectKind.SEQUENCES, lambda text: text + b"DROP TABLE measurements;\n")
    with pytest.raises(VerificationError, match="something else than setval"):
        target.restore(BackupReader(lab.store, forged, lab.codec), Cancellation())


def forge(lab: Lab, manifest: Manifest, kind: ObjectKind, change: Change) -> Manifest:
    (item,) = [item for item in manifest.objects if item.kind is kind]
    content, stored = Digest(), Digest()
    text = change(b"".join(lab.reader(manifest).content(item)))
    content.update(text)
    body = b"".join(lab.codec.encode([text]))
    stored.update(body)
    lab.store.put(objects_folder(SOURCE, manifest.backup_id) + item.name, body)
    forged = item.model_copy(
        update={
            "stored_bytes": stored.bytes,
            "stored_sha256": stored.sha256,
            "content_bytes": content.bytes,
            "content_sha256": content.sha256,
        }
    )
    objects = tuple(forged if other is item else other for other in manifest.objects)
    return manifest.model_copy(update={"objects": objects})


def test_a_key_that_does_not_fit(lab: Lab, manifest: Manifest) -> None:
    with Keyring(Encryption(passphrase="another")) as keyring, pytest.raises(EncryptionError, match="'none'"):
        open_backup(lab.catalog, PostgresEngine(), SOURCE, manifest.backup_id, Codec(keyring=keyring))


# --- accidents on the way ---------------------------------------------------------------------------------------------


@pytest.fixture
def large(lab: Lab, postgres18: PostgresServer, database: Database) -> Manifest:
    """Some 25 MB: more than the connections to a server hold on their way."""
    origin = database()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE wide (id int, v text STORAGE EXTERNAL)")
        session.execute("INSERT INTO wide SELECT i, repeat(md5(i::text), 250) FROM generate_series(1, 3000) i")
    return lab.backup(source_of(postgres18.dsn(origin)))


@pytest.fixture
def own_server(servers_directory: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(servers_directory / "killed").start()
    yield server
    server.remove()


@pytest.fixture
def proxy(lab: Lab) -> Iterator[S3Proxy]:
    with S3Proxy(lab.s3.port) as proxy:
        yield proxy


def through(proxy: S3Proxy, lab: Lab) -> Lab:
    client = lab.s3.client(client_config(2), endpoint_url=proxy.url)
    return Lab(lab.s3, ObjectStore(client, bucket=lab.store.bucket, prefix="a/prefix"), lab.directory)


def test_the_target_server_dies(
    lab: Lab, large: Manifest, own_server: PostgresServer, scratch: MakeScratch, proxy: S3Proxy
) -> None:
    target = scratch(own_server)
    target.create(large)
    folder = objects_folder(SOURCE, large.backup_id)

    def kill_it(request: Request) -> None:
        if request.method == "GET" and f"{folder}0" in request.path:
            own_server.kill()

    proxy.reset(kill_it)
    error = refused(through(proxy, lab), large, target)
    assert target.label in error.what
    assert "Look at the target server's log" in error.remedy or "Check that the server is up" in error.remedy
    own_server.start()
    target.drop()


def test_the_disk_of_the_target_is_full(
    lab: Lab, large: Manifest, own_server: PostgresServer, scratch: MakeScratch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = own_server.home / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", place], check=True)
    owner = own_server.data.stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    target = scratch(own_server)
    try:
        target.create(large)
        with own_server.connect() as session:
            session.execute(f"CREATE TABLESPACE full_one LOCATION '{place}'")
            session.execute(f"ALTER DATABASE {target.name} SET TABLESPACE full_one")
        error = refused(lab, large, target)
        assert "public.wide could not be loaded" in error.what
        assert "No space left on device" in error.what
        assert error.remedy.startswith("Free or add disk space")
    finally:
        target.drop()
        with own_server.connect() as session:
            session.execute("DROP TABLESPACE IF EXISTS full_one")
        subprocess.run(["umount", place], check=True)


def test_the_object_store_goes_away(
    lab: Lab, large: Manifest, postgres18: PostgresServer, scratch: MakeScratch, proxy: S3Proxy
) -> None:
    target = scratch()
    target.create(large)

    def cut(request: Request) -> Fault | None:
        if "-public.wide" not in request.path:
            return None
        return Fault(403, "AccessDenied") if "range" in request.headers else Fault(body_bytes=10_000)

    proxy.reset(cut)
    error = refused(through(proxy, lab), large, target)
    assert isinstance(error, RepositoryError)
    assert "public.wide" in error.what
    assert rows_in(postgres18, target.name) == {"wide": 0}


def test_a_cut_connection_to_the_object_store_is_resumed(
    lab: Lab, large: Manifest, scratch: MakeScratch, proxy: S3Proxy
) -> None:
    target = scratch()
    target.create(large)
    proxy.reset(
        lambda request: (
            Fault(body_bytes=10_000) if "-public.wide" in request.path and "range" not in request.headers else None
        )
    )
    target.restore(through(proxy, lab).reader(large), Cancellation())
    assert lab.prove(target, large).rows == 3000


def test_a_task_that_is_ended(lab: Lab, large: Manifest, scratch: MakeScratch, proxy: S3Proxy) -> None:
    target, cancellation = scratch(), Cancellation()
    target.create(large)

    def cancel(request: Request) -> None:
        if "-public.wide" in request.path:
            cancellation.cancel()

    proxy.reset(cancel)
    with pytest.raises(CancelledError):
        target.restore(through(proxy, lab).reader(large), cancellation)


def test_a_killed_worker_leaves_a_scratch_that_is_found_and_dropped(
    lab: Lab, large: Manifest, postgres18: PostgresServer, proxy: S3Proxy
) -> None:
    host = host_of(postgres18.dsn())
    name = scratch_name(SOURCE)
    order = {
        "client": {
            "endpoint_url": proxy.url,
            "region_name": lab.s3.region,
            "aws_access_key_id": lab.s3.access_key,
            "aws_secret_access_key": lab.s3.secret_key,
        },
        "bucket": lab.store.bucket,
        "prefix": "a/prefix",
        "backup_id": large.backup_id,
        "dsn": postgres18.dsn(),
        "scratch": name,
    }
    proxy.reset(lambda request: Fault(delay=60) if "-public.wide" in request.path else None)
    argv = [sys.executable, "-m", "tests.integration.postgres.restore_one"]
    worker = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True)
    try:
        assert worker.stdin is not None
        with worker.stdin as stdin:
            stdin.write(json.dumps(order))
        wait_until(lambda: any("-public.wide" in request.path for request in proxy.requests))
    finally:
        worker.kill()
        worker.wait()
    (found,) = [scratch for scratch in host.list_scratches() if scratch.name == name]
    assert (found.owner, found.backup_id) == ("killed", large.backup_id)
    host.drop(name)
    assert name not in {scratch.name for scratch in host.list_scratches()}
