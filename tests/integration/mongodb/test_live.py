"""A live database and copies of it by the contract: what the shared suite of all engines does not ask."""

from collections.abc import Sequence

import pytest

from backup_playbook.core.errors import GuardError, RestoreError
from backup_playbook.core.guards import CollectionsIdentity
from backup_playbook.engines.contract import CopyOptions
from backup_playbook.engines.live_database import Exchange
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.mongodb.live import MongoLive
from backup_playbook.engines.mongodb.scratch import MongoScratch, MongoScratchServer
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import IMPATIENT, server_of
from tests.integration.postgres.lab import SOURCE, Lab
from tests.integration.postgres.pair import NOW
from tests.support.mongo_mask import ReplicaSet

COPY, QUARANTINE = "scratch_shop_1f3a9c02", "shop__quarantine_20261123_120000"


def test_investigation_names_what_differs(lab: Lab, replica_set: ReplicaSet, origin: MongoDatabase) -> None:
    origin["orders"].insert_many([{"_id": number} for number in range(3)])
    origin["gone"].insert_one({"_id": 1})
    origin["cache"].insert_one({"_id": 1})
    server = MongoServer(replica_set.uri, origin.name, IMPATIENT)
    live = MongoLive(SOURCE, server, server)
    manifest, copy = lab.backup(MongoSource(server, leave_out=("cache",))), live.side_by_side(COPY, "run")
    lab.restore_into(copy, manifest)
    lab.prove(copy, manifest)
    origin["orders"].delete_one({"_id": 1})
    origin.drop_collection("gone")
    origin["since_then"].insert_one({"_id": 1})
    live.promote(Exchange(live.name, "", COPY, copy.identify(), QUARANTINE, "a run", NOW))
    found = live.investigate(live.name, QUARANTINE, lab.cancellation)
    assert list(found.differences) == [
        {"table": f"{origin.name}.gone", "before": None, "after": 1},
        {"table": f"{origin.name}.orders", "before": 2, "after": 3},
        {"table": f"{origin.name}.since_then", "before": 1, "after": None},
    ]
    live.require_usable()
    live.release(live.find_quarantine("newest").quarantine.name)


def test_kept_copy_has_its_name_from_the_start(lab: Lab, mongo_database: MongoDatabase, target: MongoScratch) -> None:
    mongo_database["orders"].insert_one({"_id": 1})
    manifest = lab.backup(MongoSource(server_of(mongo_database)))
    asked: list[int] = []

    def production() -> Sequence[CollectionsIdentity]:
        asked.append(1)
        return ()

    host = MongoScratchServer(target.host.server, production)
    assert host.new_name(SOURCE, "").startswith("scratch_")
    copy = host.scratch(host.new_name(SOURCE, f"kept_{mongo_database.name}"), "test", CopyOptions())
    host.require_room(copy.name, 0)
    copy.create(manifest)
    assert not copy.is_kept(copy.name)
    assert not asked
    copy.restore(lab.reader(manifest), lab.cancellation)
    with pytest.raises(GuardError, match="renames no databases"):
        copy.keep("another")
    copy.keep(copy.name)
    copy.keep(copy.name)
    assert copy.is_kept(copy.name)
    with pytest.raises(GuardError, match="is not a scratch"):
        copy.drop()
    with pytest.raises(RestoreError, match="already"):
        host.require_room(copy.name, 0)
    with pytest.raises(RestoreError, match="cannot be asked in SQL"):
        copy.ask("SELECT 1")
    with copy.server.connect() as database:
        database.client.drop_database(copy.name)


def test_scope_is_the_whole_database(lab: Lab, mongo_database: MongoDatabase) -> None:
    mongo_database["orders"].insert_one({"_id": 1})
    manifest, engine = lab.backup(MongoSource(server_of(mongo_database))), MongoEngine()
    scope = engine.scope(lab.reader(manifest), CopyOptions(only=("something",)))
    assert (list(scope.tables), scope.rows) == ([f"{mongo_database.name}.orders"], 1)
    assert engine.database(manifest) == mongo_database.name
    assert engine.summary(manifest).startswith("1 collection, 1 document")
