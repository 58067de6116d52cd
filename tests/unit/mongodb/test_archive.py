from datetime import UTC, datetime

import pytest

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import ObjectKind, StoredObject
from backup_playbook.engines.mongodb.archive import metadata_names, read_collection
from backup_playbook.engines.mongodb.collections import Collection
from tests.support.backups import manifest


def stored(name: str) -> StoredObject:
    return StoredObject(
        name=name, kind=ObjectKind.METADATA, stored_bytes=0, stored_sha256="", first_part_bytes=0, content_bytes=0,
        content_sha256="",
    )  # fmt: skip


@pytest.mark.timeout(60)
def test_thousands_of_collections_are_read_in_seconds() -> None:
    """In the square of their number it would take many minutes."""
    of_many = manifest(datetime(2026, 11, 23, tzinfo=UTC), {f"c{number}": 0 for number in range(5_000)})
    told = {"server_version": "8.0.4", "deployment": "standalone", "consistency": "snapshot", "collections": {}}
    of_many = of_many.model_copy(update={"details": {**told, "database": "shop", "views": ["view"]}})
    names = metadata_names(of_many)
    assert len(names) == 5_001
    for name, collection in names.items():
        content = Collection(collection, "collection", {}).to_json()
        assert read_collection(of_many, stored(name), [content]).name == collection
    with pytest.raises(VerificationError, match="does not hold the options and indexes of the collection"):
        read_collection(of_many, stored("shop/c1.metadata.json.zst"), [Collection("c2", "collection", {}).to_json()])
