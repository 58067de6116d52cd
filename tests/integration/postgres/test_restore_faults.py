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
    RestoreError,
    VerificationError,
)
from backup_playbook.core.model import Manifest, ObjectKind
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.scratch import ScratchDatabase, ScratchServer, scratch_name
from backup_playbook.engines.restore import open_backup
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
from tests.integration.postgres.lab import SOURCE, Lab, server_of, source_of, wait_until
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


@pytest.mark.parametrize("kind", [kind for kind in ObjectKind if kind is not ObjectKind.GLOBALS])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_object(
    kind: ObjectKind, damage: str, lab: Lab, manifest: Manifest, postgres18: PostgresServer, scratch: MakeScratch
) -> None:
    target = scratch()
    target.create(manifest)
    item = [item for item in manifest.objects if item.kind is kind][-1]
    file = lab.stored_file(objects_folder(SOURCE, manifest.backup_id) + item.name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
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


# --- servers that lack something --------------------------------------------------------------------------------------


def test_all_that_is_missing_is_named_before_anything_is_written(
    lab: Lab, postgres16: PostgresServer, manifest: Manifest, scratch: MakeScratch
) -> None:
    extensions = [
        {"name": "no_such_thing", "version": "1.0", "schema": "public"},
        {"name": "vector", "version": "99.1", "schema": "public"},
        {"name": "plperlu_or_so", "version": "1", "schema": "public"},
    ]
    roles = {"policies": ["auditor_of_policies"], "owners": ["an_owner"]}
    details = {**manifest.details, "extensions": extensions, "roles": roles}
    target = scratch(postgres16)
    with pytest.raises(RestoreError) as caught:
        target.create(manifest.model_copy(update={"details": details}))
    for sentence in (
        "It is Postgres 16, older than the backup's 18.",
        "The extension no_such_thing 1.0 is not installed there.",
        "older than the backup's 99.1.",
        "The extension plperlu_or_so 1 is not installed there.",
        "The role auditor_of_policies does not exist there (policies name it).",
    ):
        assert sentence in caught.value.what
    assert "an_owner" not in caught.value.what
    assert "Nothing was written" in caught.value.remedy
    assert target.host.list_scratches() == []


def test_roles_of_owners_and_policies_are_recorded_and_required(
    lab: Lab, postgres16: PostgresServer, postgres18: PostgresServer, database: Database, scratch: MakeScratch
) -> None:
    origin = database(postgres16)
    with postgres16.connect(origin) as session:
        for role in ("a_policy", "an_owner", "a_grantee"):
            session.execute(f"CREATE ROLE {role}")
        session.execute("CREATE TABLE t (id int)")
        session.execute("ALTER TABLE t OWNER TO an_owner")
        session.execute("GRANT SELECT ON t TO a_grantee")
        session.execute("CREATE POLICY p ON t TO a_policy USING (true)")
    try:
        manifest = lab.backup(source_of(postgres16.dsn(origin)))
        for owners, expected in ((False, ["a_policy"]), (True, ["a_grantee", "a_policy", "an_owner"])):
            with pytest.raises(RestoreError) as caught:
                scratch(owners=owners).create(manifest)
            named = [role for role in ("a_grantee", "a_policy", "an_owner") if role in caught.value.what]
            assert named == expected
    finally:
        postgres16.drop_database(origin)
        with postgres16.connect() as session:
            session.execute("DROP ROLE a_policy, an_owner, a_grantee")


def test_a_role_that_may_not_create_databases(manifest: Manifest, postgres18: PostgresServer) -> None:
    with postgres18.connect() as session:
        session.execute("CREATE ROLE modest LOGIN PASSWORD 'modest'")
    try:
        host = ScratchServer(server_of(postgres18.dsn(user="modest", password="modest")))
        with pytest.raises(RestoreError) as caught:
            ScratchDatabase(host, scratch_name(SOURCE), "test").create(manifest)
        assert "The role modest may not create databases" in caught.value.what
        assert caught.value.remedy == 'As a superuser: ALTER ROLE "modest" CREATEDB;'
    finally:
        with postgres18.connect() as session:
            session.execute("DROP ROLE modest")


def test_an_ordinary_role_restores_and_proves(lab: Lab, postgres18: PostgresServer, database: Database) -> None:
    """May create databases, and no more. What it restores is its own."""
    origin = database()
    with postgres18.connect(origin) as session:
        session.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 9) i")
        session.execute("SELECT lo_from_bytea(0, 'a large object')")
        session.execute("DROP ROLE IF EXISTS restorer")
        session.execute("CREATE ROLE restorer LOGIN CREATEDB PASSWORD 'restorer'")
    manifest = lab.backup(source_of(postgres18.dsn(origin)))
    host = ScratchServer(server_of(postgres18.dsn(user="restorer", password="restorer")))
    target = ScratchDatabase(host, scratch_name(SOURCE), "test")
    try:
        lab.restore_into(target, manifest)
        assert lab.prove(target, manifest).rows == 9
    finally:
        target.drop()
        with postgres18.connect() as session:
            session.execute("DROP ROLE restorer")


def test_a_target_that_is_not_empty(
    lab: Lab, manifest: Manifest, postgres18: PostgresServer, scratch: MakeScratch
) -> None:
    target = scratch()
    target.create(manifest)
    with postgres18.connect(target.name) as session:
        session.execute("CREATE TABLE measurements AS SELECT 'precious' AS v")
    assert "is not empty" in refused(lab, manifest, target).what
    assert rows_in(postgres18, target.name) == {"measurements": 1}


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
    host = ScratchServer(server_of(postgres18.dsn()))
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
