"""What the conformance suite needs to know of each engine: something live, and how to compare a copy of it."""

import sqlite3
import subprocess
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import boto3
from pymongo import MongoClient

from backup_playbook.core.model import Manifest
from backup_playbook.engines.contract import Engine, Source, Target
from backup_playbook.engines.files.bucket import BucketTree
from backup_playbook.engines.files.directory import DirectoryTree
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.engines.files.scratch import ScratchDirectory
from backup_playbook.engines.files.source import FilesSource
from backup_playbook.engines.mongodb import connection
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.scratch import MongoScratch
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.store import ObjectStore
from embedded.mongo import MongoServer
from embedded.postgres import PostgresServer
from embedded.processes import choose_port
from tests.integration.files import lab as files
from tests.integration.files.restore_sh import run_restore_sh
from tests.integration.mongodb import lab as mongodb
from tests.integration.postgres.lab import SOURCE, Lab, dump_text, host_of, source_of
from tests.support.example_engine.copies import Directory, SqliteScratch
from tests.support.example_engine.database import SUFFIX, Database
from tests.support.example_engine.dump import SqliteDump
from tests.support.example_engine.engine import SqliteEngine


class Case(Protocol):
    engine: Engine

    def source(self) -> Source:
        """Something filled: more than one object, one of them larger than a block."""
        ...

    def undivided(self) -> Source:
        """The same, each table in one piece: where a source is divided may be left to chance."""
        ...

    def unreachable(self) -> Source:
        """The same kind of source where nothing answers."""
        ...

    def restore(self, lab: Lab, manifest: Manifest) -> "subprocess.CompletedProcess[str]":
        """Run the backup's restore.sh into a new, empty place."""
        ...

    def target(self) -> Target:
        """A new place for a restore."""
        ...

    def damage(self, target: Target) -> None:
        """Change a little of what was restored there."""
        ...

    def exists(self, target: Target) -> bool: ...

    def original(self) -> object:
        """What the source holds, comparable."""
        ...

    def restored(self) -> object:
        """What the place of the last restore holds."""
        ...

    def close(self) -> None: ...


class PostgresCase:
    engine = PostgresEngine()

    def __init__(self, server: PostgresServer, database: str) -> None:
        self._server, self._origin, self._copy = server, database, f"{database}_copy"
        server.create_database(self._origin)
        server.create_database(self._copy)
        with server.connect(self._origin) as session:
            session.execute("CREATE TABLE big AS SELECT i AS id, md5(i::text) AS v FROM generate_series(1, 60000) i")
            session.execute("CREATE TABLE small (id serial PRIMARY KEY, v text NOT NULL)")
            session.execute("INSERT INTO small (v) VALUES ('one'), ('two')")

    def source(self) -> Source:
        return source_of(self._server.dsn(self._origin), chunk_bytes=1 << 20)

    def undivided(self) -> Source:
        return source_of(self._server.dsn(self._origin))

    def unreachable(self) -> Source:
        return source_of(f"host=127.0.0.1 port={choose_port()} dbname=nothing user=nobody")

    def restore(self, lab: Lab, manifest: Manifest) -> "subprocess.CompletedProcess[str]":
        return lab.restore(manifest, self._server, self._copy)

    def target(self) -> ScratchDatabase:
        return ScratchDatabase(host_of(self._server.dsn()), scratch_name(SOURCE), "contract")

    def damage(self, target: Target) -> None:
        assert isinstance(target, ScratchDatabase)
        with self._server.connect(target.name) as session:
            session.execute("UPDATE small SET v = 'other' WHERE v = 'two'")

    def exists(self, target: Target) -> bool:
        assert isinstance(target, ScratchDatabase)
        return any(found.name == target.name for found in target.host.list_scratches())

    def original(self) -> object:
        return dump_text(self._server, self._origin)

    def restored(self) -> object:
        return dump_text(self._server, self._copy)

    def close(self) -> None:
        self._server.drop_database(self._origin)
        self._server.drop_database(self._copy)


class MongoCase:
    engine = MongoEngine()

    def __init__(self, server: MongoServer) -> None:
        self._client = MongoClient[dict[str, Any]](server.uri)
        name = f"contract_{uuid.uuid4().hex[:8]}"
        self._origin, self._copy = self._client[name], self._client[f"{name}_copy"]
        self._origin["big"].insert_many([{"_id": i, "v": f"{i:060d}"} for i in range(30_000)])
        self._origin["big"].create_index("v", unique=True)
        self._origin["small"].insert_many([{"_id": "one", "v": 1}, {"_id": 2, "v": 2}])

    def source(self) -> Source:
        return mongodb.source_of(self._origin, chunk_bytes=1 << 20)

    def undivided(self) -> Source:
        return mongodb.source_of(self._origin)

    def unreachable(self) -> Source:
        return MongoSource(connection.MongoServer(f"mongodb://127.0.0.1:{choose_port()}/", "x", mongodb.IMPATIENT))

    def restore(self, lab: Lab, manifest: Manifest) -> "subprocess.CompletedProcess[str]":
        return mongodb.restore_sh(lab, manifest, self._copy)

    def target(self) -> MongoScratch:
        return mongodb.scratch_of(self._origin)

    def damage(self, target: Target) -> None:
        assert isinstance(target, MongoScratch)
        self._client[target.name]["small"].update_one({"_id": 2}, {"$set": {"v": 3}})

    def exists(self, target: Target) -> bool:
        assert isinstance(target, MongoScratch)
        return any(found.name == target.name for found in target.host.list_scratches())

    def original(self) -> object:
        return mongodb.contents(self._origin)

    def restored(self) -> object:
        return mongodb.contents(self._copy)

    def close(self) -> None:
        for database in (self._origin, self._copy):
            self._client.drop_database(database)
        self._client.close()


class FilesCase:
    engine = FilesEngine()

    def __init__(self, directory: Path) -> None:
        self._directory, self._root = directory, directory / "root"
        self._restored = self._root
        self._root.mkdir()
        (self._root / "large").write_bytes(bytes(range(256)) * (9 << 12))
        (self._root / "folder").mkdir()
        (self._root / "folder/small").write_bytes(b"one")
        (self._root / "link").symlink_to("folder/small")

    def source(self) -> FilesSource:
        return FilesSource(DirectoryTree(self._root))

    def undivided(self) -> FilesSource:
        return self.source()

    def unreachable(self) -> FilesSource:
        client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{choose_port()}", region_name="us-east-1",
            aws_access_key_id="nobody", aws_secret_access_key="nothing",
        )  # fmt: skip
        return FilesSource(BucketTree(ObjectStore(client, bucket="nothing", prefix="")))

    def restore(self, lab: Lab, manifest: Manifest) -> "subprocess.CompletedProcess[str]":
        self._restored = lab.directory / "restored"
        script = lab.restore_script(manifest)
        return run_restore_sh(script, lab.directory, lab.s3.shell_environment(), str(self._restored))

    def target(self) -> ScratchDirectory:
        return ScratchDirectory(self._directory, scratch_name(SOURCE), [self._root])

    def damage(self, target: Target) -> None:
        assert isinstance(target, ScratchDirectory)
        (target.root / "folder/small").write_bytes(b"two")

    def exists(self, target: Target) -> bool:
        assert isinstance(target, ScratchDirectory)
        return target.root.exists()

    def original(self) -> object:
        return files.state(self._root)

    def restored(self) -> object:
        return files.state(self._restored)

    def close(self) -> None: ...


class SqliteCase:
    engine = SqliteEngine()

    def __init__(self, directory: Path) -> None:
        self._directory, self._restored = directory, directory
        with closing(sqlite3.connect(self._database("origin").path)) as session:
            session.execute("CREATE TABLE big (id INTEGER PRIMARY KEY, v TEXT)")
            session.executemany("INSERT INTO big VALUES (?, ?)", ((i, f"{i:0600}") for i in range(2_000)))
            session.execute('CREATE TABLE small (id INTEGER PRIMARY KEY AUTOINCREMENT, "the ""v" NOT NULL)')
            values = ("two\nlines", "a NUL: \0", b"\xff", 1.5, "", "it's")
            session.executemany('INSERT INTO small ("the ""v") VALUES (?)', ((value,) for value in values))
            session.execute("CREATE TRIGGER none AFTER INSERT ON small BEGIN DELETE FROM small; DELETE FROM big; END")
            session.execute("PRAGMA user_version = 7")
            session.commit()

    def source(self) -> Source:
        return SqliteDump(self._database("origin"))

    def undivided(self) -> Source:
        return self.source()

    def unreachable(self) -> Source:
        return SqliteDump(Database(self._directory / "net" / "127.0.0.1" / f"shop{SUFFIX}"))

    def restore(self, lab: Lab, manifest: Manifest) -> "subprocess.CompletedProcess[str]":
        self._restored = lab.directory / "restored.sqlite3"
        script = lab.restore_script(manifest)
        return run_restore_sh(script, lab.directory, lab.s3.shell_environment(), str(self._restored))

    def target(self) -> SqliteScratch:
        return Directory(self._directory, tuple).scratch(scratch_name(SOURCE))

    def damage(self, target: Target) -> None:
        assert isinstance(target, SqliteScratch)
        with closing(sqlite3.connect(target.database.path)) as session:
            session.execute("UPDATE small SET id = 77 WHERE id = 1")
            session.commit()

    def exists(self, target: Target) -> bool:
        assert isinstance(target, SqliteScratch)
        return any(found.name == target.name for found in target.host.list_scratches())

    def original(self) -> object:
        return self._state(self._database("origin").path)

    def restored(self) -> object:
        return self._state(self._restored)

    def close(self) -> None: ...

    def _database(self, name: str) -> Database:
        return Directory(self._directory, tuple).database(name)

    @staticmethod
    def _state(path: Path) -> object:
        with closing(sqlite3.connect(path)) as session:
            rows = [session.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in ("big", "small")]
            return rows, sorted(session.iterdump()), session.execute("PRAGMA user_version").fetchone()
