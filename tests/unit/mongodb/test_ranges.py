import pytest

from backup_playbook.engines.mongodb.collections import Collection
from backup_playbook.engines.mongodb.connection import Deployment
from backup_playbook.engines.mongodb.dump import has_ranges

CLUSTERED = {"clusteredIndex": {"key": {"_id": 1}, "unique": True}}


@pytest.mark.parametrize(
    ("kind", "options", "since"),
    [
        ("collection", {}, "5.0.0"),
        ("collection", CLUSTERED, "8.0.0"),
        ("timeseries", {"timeseries": {"timeField": "at"}}, "8.0.0"),
        ("collection", {"capped": True}, ""),
    ],
)
def test_which_collections_have_ranges(kind: str, options: dict[str, object], since: str) -> None:
    collection = Collection("letters", kind, options)
    versions = ["4.4.29", "5.0.0", "7.0.14", "8.0.0", "8.2.1"]
    found = [one for one in versions if has_ranges(collection, Deployment("replica set", one, 13))]
    assert found == (versions[versions.index(since) :] if since else [])
