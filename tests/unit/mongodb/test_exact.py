import bson
import pytest
from bson import DatetimeMS, Int64, Timestamp

from backup_playbook.engines.mongodb.exact import has_empty_timestamp


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"_id": 1, "at": Timestamp(0, 0)}, True),
        ({"_id": 1, "at": Timestamp(0, 0), "never": DatetimeMS(8640000000000000)}, True),
        ({"_id": Timestamp(0, 0)}, False),
        ({"_id": 1, "at": Timestamp(0, 1)}, False),
        ({"_id": 1, "deep": {"at": Timestamp(0, 0)}}, False),
        ({"_id": 1, "list": [Timestamp(0, 0)]}, False),
        ({"_id": 1, "n": Int64(0), "zero": 0.0, "bytes": b"\x11at\0" + b"\0" * 8}, False),
    ],
)
def test_only_empty_timestamps_at_the_top_are_changed_by_a_server(document: dict[str, object], expected: bool) -> None:
    assert has_empty_timestamp(bson.encode(document)) is expected
