"""MongoDB: backup and restore against the driver that reads or writes the same documents, and does nothing else.

All in this process, over the embedded server: `restore` writes into a new database each time, as it does in production.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from backup_playbook.core.model import Manifest
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.documents import batches
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.scratch import MongoScratch, MongoScratchServer
from backup_playbook.engines.restore import open_backup
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from bench.contestants import STREAMS
from bench.measure import Contestant, race, ratio
from bench.report import MIB, Figure, Section
from bench.stand import BUCKET, Size, Stand
from embedded import mongo
from include.sample.reviews import reviews

Say = Callable[[str], None]
SOURCE = "reviews"
COLLECTIONS = 4
DOCUMENTS = {"small": 5_000, "full": 25_000}
"""In each collection."""


class _Work(Contestant):
    def __init__(self, name: str, what: str, work: Callable[[], None], clean: Callable[[], object]) -> None:
        self.name, self.what, self._work, self._clean = name, what, work, clean

    def run(self) -> None:
        self._work()

    def after(self) -> int:
        self._clean()
        return 0


class _Bench:
    def __init__(self, stand: Stand, uri: str, client: MongoClient[dict[str, Any]], contents: Sequence[bytes]) -> None:
        self._uri, self._client = uri, client
        self._contents = {f"reviews{number}": content for number, content in enumerate(contents)}
        self._store = ObjectStore(stand.s3.client(), bucket=BUCKET, prefix="mongodb")
        self._manifest: Manifest
        self._scratch = self._new_scratch()

    def fill(self, database: str) -> None:
        with ThreadPoolExecutor(STREAMS) as threads:
            list(threads.map(lambda name: self._insert(database, name), self._contents))

    def read(self) -> None:
        with ThreadPoolExecutor(STREAMS) as threads:
            list(threads.map(self._read, self._contents))

    def back_up(self) -> None:
        writer = BackupWriter(self._store, SOURCE, new_backup_id(datetime.now(UTC)), Codec())
        source = MongoSource(MongoServer(self._uri, SOURCE), STREAMS)
        self._manifest = take_backup(source, MongoEngine(), writer, Cancellation())

    def restore(self) -> None:
        self._scratch = self._new_scratch()
        reader = open_backup(Catalog(self._store), MongoEngine(), SOURCE, self._manifest.backup_id, Codec())
        self._scratch.create(self._manifest)
        self._scratch.restore(reader, Cancellation())

    def drop_scratch(self) -> None:
        self._scratch.drop()

    def _new_scratch(self) -> MongoScratch:
        host = MongoScratchServer(MongoServer(self._uri, "admin"), tuple)
        return MongoScratch(host, scratch_name(SOURCE), "bench", STREAMS)

    def _insert(self, database: str, name: str) -> None:
        for batch in batches([self._contents[name]]):
            self._client[database][name].insert_many(map(RawBSONDocument, batch))

    def _read(self, name: str) -> None:
        for _ in self._client[SOURCE][name].find_raw_batches():
            pass


def measure(stand: Stand, size: Size, say: Say) -> list[Section]:
    """Nothing where this machine lacks Java."""
    if missing := mongo.missing():
        say(f"MongoDB is not measured: {missing}")
        return []
    count = DOCUMENTS[size.name]
    say(f"making {COLLECTIONS} collections of {count:,} documents ...")
    contents = [b"".join(map(bson.encode, reviews(count, random.Random(seed)))) for seed in range(COLLECTIONS)]
    server = mongo.MongoServer(stand.scratch / "mongo")
    try:
        with MongoClient[dict[str, Any]](server.start().uri) as client:
            bench = _Bench(stand, server.uri, client, contents)
            bench.fill(SOURCE)
            contestants = [
                _Work("read", "limit: the driver reads all documents, raw, in as many threads", bench.read, int),
                _Work("backup", "this project: into S3", bench.back_up, int),
                _Work("write", "limit: the driver writes them, from memory, in as many threads",
                      lambda: bench.fill("written"), lambda: client.drop_database("written")),
                _Work("restore", "this project: from S3 into a scratch", bench.restore, bench.drop_scratch),
            ]  # fmt: skip
            series = race(contestants, size.rounds, say)
    finally:
        server.stop()
    figures = [
        Figure("mongodb_backup_vs_limit", *ratio(series["read"], series["backup"])),
        Figure("mongodb_restore_vs_limit", *ratio(series["write"], series["restore"])),
    ]
    facts = {"documents": f"{COLLECTIONS * count:,}", "bytes": f"{sum(map(len, contents)) / MIB:.0f} MiB"}
    return [Section("mongodb", "MongoDB", series, figures, facts)]
