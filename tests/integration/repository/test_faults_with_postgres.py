"""S3 fails while a real database is being dumped: at every request, with chunks, packs and parts on their way."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.config import Config
from psycopg.conninfo import conninfo_to_dict

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.naming import new_backup_id
from backup_playbook.engines.backup import take_backup
from backup_playbook.engines.postgres import plan
from backup_playbook.engines.postgres.connection import PostgresServer as Server
from backup_playbook.engines.postgres.dump import PostgresSource
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.repository import upload
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer, client_bin_dirs
from tests.conftest import Bucket
from tests.integration.repository.conftest import MakeStore
from tests.support.s3_proxy import Fault, S3Proxy, from_on

MIB = 1 << 20
# random text does not compress: the chunks are longer than a part
_TABLES = """
CREATE TABLE large AS
SELECT i, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 40) WHERE i > 0) AS t
FROM generate_series(1, 24000) i;
CREATE TABLE small AS SELECT i FROM generate_series(1, 100) i
"""


@pytest.fixture
def source(postgres18: PostgresServer, database: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> PostgresSource:
    monkeypatch.setenv("BACKUP_PLAYBOOK_PG_CLIENTS", os.pathsep.join(map(str, client_bin_dirs())))
    monkeypatch.setattr(plan, "OWN_STREAM_BYTES", 12 * MIB)
    monkeypatch.setattr(upload, "FIRST_PART_BYTES", 5 * MIB)
    name = database()
    with postgres18.connect(name) as connection:
        connection.execute(_TABLES)
    keywords = {key: str(value) for key, value in conninfo_to_dict(postgres18.dsn(name)).items()}
    password = keywords.pop("password", None)
    return PostgresSource(Server(keywords, password), streams=2, chunk_bytes=12 * MIB)


def children() -> list[str]:
    found = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return [pid for pids in found for pid in pids]


def back_up(source: PostgresSource, store: ObjectStore) -> None:
    writer = BackupWriter(store, "shop", new_backup_id(datetime.now(UTC)), Codec())
    take_backup(source, PostgresEngine(), writer, Cancellation())


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_dump_ends_with_the_store(
    source: PostgresSource, make_store: MakeStore, bucket: Bucket, proxy: S3Proxy
) -> None:
    store = make_store(bucket.name, config=Config(retries={"total_max_attempts": 1, "mode": "standard"}))
    back_up(source, store)
    count = len(proxy.requests)
    assert sum("partNumber" in request.query for request in proxy.requests) >= 4
    before = children()
    for number in range(1, count + 1, 2):
        proxy.reset(from_on(number, Fault(503, "SlowDown")))
        with pytest.raises(PlaybookError, match=r"SlowDown|Cannot"):
            back_up(source, store)
        assert children() == before, "a client program outlived its backup"
    proxy.reset()
    assert len(Catalog(store).backups("shop")) == 1
