"""Servers that go away, and backups that are not what they should be."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import bson
import pytest

from backup_playbook.core.errors import CancelledError, GuardError, PlaybookError, RestoreError, VerificationError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.dump import MongoSource
from backup_playbook.engines.mongodb.scratch import MongoScratch
from backup_playbook.engines.scratch import scratch_name
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import manifest_key
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.streams.processes import Cancellation
from embedded.mongo import MongoServer as EmbeddedMongo
from embedded.toxiproxy import Proxy, Toxiproxy
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import IMPATIENT, host_of, restore_sh, scratch_of, server_of, source_of
from tests.integration.postgres.lab import SOURCE, Lab
from tests.support.damage import flip_a_bit


@pytest.fixture(scope="module")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    server = Toxiproxy(tmp_path_factory.mktemp("toxiproxy"))
    yield server.start()
    server.stop()


@pytest.fixture
def proxy(toxiproxy: Toxiproxy, mongo: EmbeddedMongo) -> Proxy:
    return toxiproxy.proxy("mongo", mongo.port)


@pytest.fixture
def target(mongo_database: MongoDatabase) -> Iterator[MongoScratch]:
    made = scratch_of(mongo_database)
    yield made
    made.drop()


@pytest.fixture
def manifest(lab: Lab, mongo_database: MongoDatabase) -> Manifest:
    fill(mongo_database, 2_000)
    return lab.backup(source_of(mongo_database, chunk_bytes=500_000))


def fill(database: MongoDatabase, documents: int) -> None:
    database["letters"].insert_many([{"_id": i, "unique": i, "body": f"{i:0500d}"} for i in range(documents)])
    database["letters"].create_index("unique", unique=True)
    database["small"].insert_one({"_id": 1})


@pytest.mark.faults
def test_a_server_that_goes_away_while_it_is_read(lab: Lab, mongo_database: MongoDatabase, proxy: Proxy) -> None:
    fill(mongo_database, 20_000)
    server = MongoServer(f"mongodb://127.0.0.1:{proxy.port}/", mongo_database.name, IMPATIENT)
    with proxy.toxic("limit_data", bytes=6_000_000):
        error = lab.refused(MongoSource(server))
    assert "letters" in error.what
    assert "server's log" in error.remedy
    assert lab.backup(MongoSource(server)).rows == 20_001


@pytest.mark.faults
def test_a_server_that_goes_away_while_it_is_filled(
    lab: Lab, mongo_database: MongoDatabase, proxy: Proxy, manifest: Manifest
) -> None:
    host = host_of(MongoServer(f"mongodb://127.0.0.1:{proxy.port}/", "admin", IMPATIENT))
    target = MongoScratch(host, scratch_name(SOURCE), "test")
    target.create(manifest)
    with proxy.toxic("limit_data", "upstream", bytes=300_000), pytest.raises(PlaybookError) as caught:
        target.restore(lab.reader(manifest), lab.cancellation)
    assert "127.0.0.1" in caught.value.what
    with pytest.raises(VerificationError, match="letters"):
        target.prove(lab.reader(manifest), lab.cancellation)
    target.drop()
    assert target.host.list_scratches() == []
    lab.restore_into(target, manifest)
    lab.prove(target, manifest)
    target.drop()


def test_documents_that_a_unique_index_refuses(lab: Lab, mongo_database: MongoDatabase, target: MongoScratch) -> None:
    """Read one after the other while they changed: both have the value that only one of them had at any time."""
    mongo_database["people"].insert_many([{"_id": 1, "mail": "a@b.c"}, {"_id": 2, "mail": "a@b.c"}])
    writer = WithAnIndex(lab, "people", {"v": 2, "key": {"mail": 1}, "name": "mail_1", "unique": True})
    manifest = source_of(mongo_database).dump(writer, Cancellation()).sealed()
    Catalog(lab.store).seal(manifest, "")
    with pytest.raises(RestoreError, match="people could not be indexed") as caught:
        lab.restore_into(target, manifest)
    assert "replica set" in caught.value.remedy


class WithAnIndex(BackupWriter):
    """Says of a collection that it has an index which its documents do not fit."""

    def __init__(self, lab: Lab, collection: str, index: dict[str, object]) -> None:
        plain = lab.writer()
        super().__init__(plain.store, plain.source, plain.backup_id, plain.codec)
        self._collection, self._index = collection, index

    def write(self, name: str, kind: ObjectKind, blocks: object, *, estimate: int = 0) -> StoredObject:
        content = list(blocks)  # type: ignore[call-overload]
        if name.endswith(f"/{self._collection}.metadata.json"):
            body = json.loads(b"".join(content))
            content = [json.dumps(body | {"indexes": [*body["indexes"], self._index]}).encode()]
        return super().write(name, kind, content, estimate=estimate)


def test_cancelled_in_the_middle(lab: Lab, mongo_database: MongoDatabase) -> None:
    fill(mongo_database, 20_000)
    cancellation = Cancellation()

    class Stops(BackupWriter):
        def write(self, name: str, kind: ObjectKind, blocks: object, *, estimate: int = 0) -> StoredObject:
            cancellation.cancel()
            return super().write(name, kind, blocks, estimate=estimate)  # type: ignore[arg-type]

    plain = lab.writer()
    writer = Stops(plain.store, plain.source, plain.backup_id, plain.codec)
    with pytest.raises(CancelledError):
        source_of(mongo_database).dump(writer, cancellation)


@pytest.mark.parametrize("kind", [ObjectKind.COLLECTION, ObjectKind.METADATA])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_object(
    kind: ObjectKind, damage: str, lab: Lab, manifest: Manifest, target: MongoScratch, mongo_database: MongoDatabase
) -> None:
    item = next(item for item in manifest.objects if item.kind is kind)
    key = f"objects/{SOURCE}/{manifest.backup_id}/{item.name}"
    if damage == "gone":
        lab.store.delete([key])
    elif damage == "flipped":
        flip_a_bit(lab.stored_file(key))
    else:
        file = lab.stored_file(key)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(VerificationError, match=r"not as backed up|is not complete"):
        lab.verify(manifest)
    with pytest.raises(PlaybookError):
        lab.restore_into(target, manifest)
    result = restore_sh(lab, manifest, mongo_database.client[f"{mongo_database.name}_copy"])
    assert result.returncode != 0
    assert f"{item.name} is damaged" in result.stderr
    assert "Nothing was changed" in result.stderr


FORGERIES: dict[str, tuple[Callable[[dict], object], str]] = {
    "options are missing": (
        lambda body: body["objects"].remove(next(item for item in body["objects"] if item["kind"] == "metadata")),
        "Options and indexes of .* are missing",
    ),
    "options of no collection": (
        lambda body: (
            body["tables"].pop(0),
            body.update(objects=[item for item in body["objects"] if "/letters.bson" not in item["name"]]),
        ),
        "letters.metadata.json.zst holds options and indexes of no collection",
    ),
    "documents of no collection": (
        lambda body: body["tables"][0]["parts"].pop(),
        "holds documents of no collection",
    ),
    "a part twice": (
        lambda body: body["tables"][0]["parts"].append(body["tables"][0]["parts"][0]),
        "is said to hold 2 parts",
    ),
    "a collection twice": (
        lambda body: body["tables"].append({**body["tables"][1], "parts": []}),
        "has the collection small 2 times",
    ),
    "an object that is not there": (
        lambda body: body["tables"][0]["parts"][0].update(object="elsewhere.bson.zst"),
        "Documents are said to be in elsewhere.bson.zst, which it does not name",
    ),
    "more documents than there are": (
        lambda body: body["tables"][0]["parts"][0].update(rows=7),
        "where the manifest says 7",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_manifest_that_is_not_complete(forgery: str, lab: Lab, manifest: Manifest) -> None:
    forge, message = FORGERIES[forgery]
    body = manifest.model_dump(mode="json")
    forge(body)
    forged = Manifest.model_validate(body).sealed()
    lab.store.put(manifest_key(SOURCE, manifest.backup_id), forged.to_json())
    with pytest.raises(VerificationError, match=message):
        lab.verify(forged)


def test_options_of_another_collection(lab: Lab, manifest: Manifest) -> None:
    metadata = [item for item in manifest.objects if item.kind is ObjectKind.METADATA]
    one, other = metadata
    folder = f"objects/{SOURCE}/{manifest.backup_id}/"
    lab.store.put(folder + one.name, lab.store.get(folder + other.name))
    exchanged = {**other.model_dump(), "name": one.name}
    objects = tuple(StoredObject(**exchanged) if item is one else item for item in manifest.objects)
    forged = manifest.model_copy(update={"objects": objects}).sealed()
    lab.store.put(manifest_key(SOURCE, manifest.backup_id), forged.to_json())
    with pytest.raises(VerificationError, match="does not hold the options and indexes of the collection"):
        lab.verify(forged)


DIFFERENCES: dict[str, tuple[Callable[[MongoDatabase], object], str]] = {
    "a document gone": (lambda copy: copy["letters"].delete_one({"_id": 7}), "letters has 1,999 documents where"),
    "a document more": (lambda copy: copy["letters"].insert_one({"_id": 7.5, "unique": -1}), "letters has 2,001"),
    "another value": (lambda copy: copy["small"].update_one({}, {"$set": {"v": 1}}), "small has the 1 document "),
    "an index gone": (lambda copy: copy["letters"].drop_index("unique_1"), "index unique_1 of letters is missing"),
    "an index more": (lambda copy: copy["small"].create_index("v"), "index v_1 of small is"),
    "a collection gone": (lambda copy: copy.drop_collection("small"), "small is missing"),
    "a collection more": (lambda copy: copy["more"].insert_one({}), "more is not in the backup"),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_what_differs_is_named(
    difference: str, lab: Lab, manifest: Manifest, target: MongoScratch, mongo_database: MongoDatabase
) -> None:
    change, message = DIFFERENCES[difference]
    lab.restore_into(target, manifest)
    change(mongo_database.client[target.name])
    with pytest.raises(VerificationError, match=message) as caught:
        lab.prove(target, manifest)
    assert len(caught.value.problems) == 1


def test_nothing_without_a_mark_is_dropped_or_written_to(
    lab: Lab, manifest: Manifest, target: MongoScratch, mongo_database: MongoDatabase
) -> None:
    mongo_database.client[target.name]["precious"].insert_one({"_id": 1})
    for act in (target.drop, lambda: target.restore(lab.reader(manifest), lab.cancellation)):
        with pytest.raises(GuardError, match="is not a scratch"):
            act()
    assert mongo_database.client[target.name]["precious"].count_documents({}) == 1
    with pytest.raises(GuardError, match="is not a scratch"):
        host_of(server_of(mongo_database)).drop(mongo_database.name)
    mongo_database.client.drop_database(target.name)


def test_scratches_of_killed_runs_are_found(lab: Lab, manifest: Manifest, target: MongoScratch) -> None:
    target.create(manifest)
    [found] = [one for one in target.host.list_scratches() if one.name == target.name]
    assert (found.source, found.backup_id, found.owner) == (SOURCE, manifest.backup_id, "test")
    assert found.created_at
    assert found.created_at.tzinfo


def test_restore_sh_refuses_before_it_changes_anything(
    lab: Lab, manifest: Manifest, mongo_database: MongoDatabase, tmp_path: Path
) -> None:
    copy = mongo_database.client[f"{mongo_database.name}_copy"]
    for environment, message in (
        ({"MONGODB_URI": ""}, "MONGODB_URI is not set"),
        ({"PATH": "/usr/bin:/bin"}, "aws is not"),
        ({"USERS": "1"}, f"USERS=1 needs the database name {mongo_database.name}"),
    ):
        result = restore_sh(lab, manifest, copy, **environment)
        assert result.returncode == 1
        assert message in result.stderr
    assert copy.name not in mongo_database.client.list_database_names()
    assert bson.encode({})
