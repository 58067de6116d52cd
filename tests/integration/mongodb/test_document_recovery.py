"""Documents of a collection back from a backup: which are found, what stands in their way, and the way back."""

from collections.abc import Iterator
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.engines.mongodb import document_import
from backup_playbook.engines.mongodb.document_import import (
    import_documents,
    remaining_documents,
)
from backup_playbook.engines.mongodb.document_search import (
    load_documents,
    require_collection,
    wanted_documents,
)
from backup_playbook.streams.processes import Cancellation
from tests.conftest import MongoDatabase
from tests.integration.mongodb.lab import contents, source_of
from tests.integration.mongodb.recovery import Recovery
from tests.integration.postgres.lab import Lab

OID = ObjectId("65a000000000000000000001")
IDS: list[Any] = [1, Int64(2), 3.0, Decimal128("4"), "1", "letters", OID, {"a": 1}, True, b"\0bytes"]


@pytest.fixture
def recovery(lab: Lab, mongo_database: MongoDatabase) -> Iterator[Recovery]:
    """Of documents with all kinds of ids, in several objects."""
    mongo_database["people"].insert_many(
        [{"_id": value, "mail": f"{number}@x", "text": "x" * 100} for number, value in enumerate(IDS)]
    )
    mongo_database["people"].insert_many([{"_id": 100 + i, "mail": f"m{i}", "text": "x" * 100} for i in range(300)])
    mongo_database["people"].create_index("mail", unique=True)
    mongo_database["others"].insert_one({"_id": 1})
    found = Recovery(lab, mongo_database, lab.backup(source_of(mongo_database, chunk_bytes=8 << 10)))
    yield found
    found.scratch.drop()


def test_everything_comes_back_byte_for_byte_and_goes_again(recovery: Recovery) -> None:
    before = contents(recovery.database)
    recovery.database["people"].delete_many({})
    empty = contents(recovery.database)
    preview = recovery.find(query="{}")
    assert preview.tables[0].counts == {"missing": 310}
    done = recovery.bring_back(preview)
    assert (done.inserted, done.overwritten, done.undo) == ({"people": 310}, {"people": 0}, "kept")
    assert recovery.then == empty  # the undo was stored before anything was written
    assert contents(recovery.database) == before
    assert remaining_documents(recovery.live, recovery.scratch, recovery.wanted) == {"equal": 310}
    assert recovery.take_back().endswith(
        "Taken back: 310 documents of people; left, for they were changed since or are gone: 0."
    )
    assert contents(recovery.database) == empty


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1", 1), ("2", Int64(2)), ("3", 3.0), ("4", Decimal128("4")), ('"1"', "1"), ("letters", "letters"),
        (str(OID), OID), ('{"$oid": "65a000000000000000000001"}', OID), ('{"a": 1}', {"a": 1}), ("true", True),
    ],
)  # fmt: skip
def test_ids_of_all_types(recovery: Recovery, text: str, found: Any) -> None:
    recovery.database["people"].delete_one({"_id": {"$eq": found}})
    preview = recovery.find(text)
    assert preview.tables[0].counts == {"missing": 1}
    recovery.bring_back(preview)
    again = recovery.database["people"].find_one({"_id": {"$eq": found}})
    assert again is not None
    assert (type(again["_id"]), again["_id"]) == (type(found), found)


def test_only_objects_that_can_hold_an_id_are_read(recovery: Recovery, monkeypatch: pytest.MonkeyPatch) -> None:
    [people] = [table for table in recovery.manifest.tables if table.name == "people"]
    assert len(people.parts) > 3
    reader = recovery.lab.reader(recovery.manifest)
    read: list[str] = []
    content = type(reader).content
    monkeypatch.setattr(type(reader), "content", lambda self, item: (read.append(item.name), content(self, item))[1])
    preview = recovery.find("100", "101", "nobody")
    assert preview.tables[0].counts == {"equal": 2}
    assert preview.remarks == ("1 of 3 keys are not in the backup.",)
    documents = [name for name in read if ".bson" in name]
    assert 0 < len(documents) <= 2
    assert all("people" in name for name in read)


def test_credentials_are_not_in_the_preview(recovery: Recovery) -> None:
    people = recovery.database["people"]
    people.insert_one(secret := {"_id": "s", "mail": "s", "in": [{"apiKey": "x"}], "password": {"a": 1}})
    lost = Recovery(recovery.lab, recovery.database, recovery.lab.backup(source_of(recovery.database)))
    people.delete_one({"_id": "s"})
    preview = lost.find('"s"')
    [row] = preview.tables[0].rows
    assert row.values == '{"mail": "s", "in": [{"apiKey": "***"}], "password": "***"}'
    lost.bring_back(preview)
    assert people.find_one({"_id": "s"}) == secret
    lost.scratch.drop()


def test_unique_values_that_others_have_now(recovery: Recovery) -> None:
    recovery.database["people"].delete_many({"_id": {"$in": [100, 101]}})
    recovery.database["people"].insert_one({"_id": "new", "mail": "m0"})
    preview = recovery.find("100", "101")
    for choice in ("stop", "overwrite"):
        with pytest.raises(RowRecoveryError, match=r"unique value taken: .* \(mail_1\) of 1 document"):
            preview.require_clear(choice)
    assert recovery.bring_back(preview, "skip").inserted == {"people": 1}
    assert recovery.database["people"].find_one({"_id": 100}) is None


def test_a_write_that_fails_takes_back_those_before_it(recovery: Recovery) -> None:
    """Somebody else is faster, between the last look and the write."""
    recovery.database["people"].delete_many({"_id": {"$in": [100, 101, 102]}})
    preview = recovery.find("100", "101", "102")

    def keep(content: bytes) -> str:
        recovery.database["people"].insert_one({"_id": 102, "mail": "faster"})
        return recovery.keep(content)

    with pytest.raises(RowRecoveryError, match="changed while documents were written: 102"):
        import_documents(recovery.live, recovery.scratch, recovery.wanted, preview, "stop", keep)
    left = list(recovery.database["people"].find({"_id": {"$in": [100, 101, 102]}}))
    assert left == [{"_id": 102, "mail": "faster"}]


def test_a_document_that_changes_while_it_is_overwritten(recovery: Recovery) -> None:
    recovery.database["people"].update_one({"_id": 100}, {"$set": {"text": "changed"}})
    preview = recovery.find("100")

    def keep(content: bytes) -> str:
        recovery.database["people"].update_one({"_id": 100}, {"$set": {"text": "again"}})
        return recovery.keep(content)

    with pytest.raises(RowRecoveryError, match="changed while documents were written: 100"):
        import_documents(recovery.live, recovery.scratch, recovery.wanted, preview, "overwrite", keep)
    assert (recovery.database["people"].find_one({"_id": 100}) or {})["text"] == "again"


def test_what_is_read_back_otherwise_is_taken_back(recovery: Recovery, monkeypatch: pytest.MonkeyPatch) -> None:
    recovery.database["people"].delete_one({"_id": 100})
    now = contents(recovery.database)
    preview = recovery.find("100")
    write = document_import._write_one

    def other(live: Any, one: Any) -> None:
        write(live, one)
        live.update_one({"_id": 100}, {"$set": {"by": "a trigger"}})

    monkeypatch.setattr(document_import, "_write_one", other)
    with pytest.raises(RestoreError, match="not read back as it was written"):
        recovery.bring_back(preview)
    assert contents(recovery.database) != now  # somebody's change stays
    assert (recovery.database["people"].find_one({"_id": 100}) or {})["by"] == "a trigger"


def test_undo_leaves_what_was_changed_since(recovery: Recovery) -> None:
    recovery.database["people"].delete_many({"_id": {"$in": [100, 101]}})
    recovery.bring_back(recovery.find("100", "101"))
    recovery.database["people"].update_one({"_id": 101}, {"$set": {"text": "new"}})
    assert recovery.take_back().endswith(
        "1 document of people; left, for they were changed since or are gone: 1 (101)."
    )
    assert recovery.database["people"].find_one({"_id": 100}) is None
    assert recovery.database["people"].find_one({"_id": 101}) is not None


@pytest.mark.parametrize(
    ("ids", "query", "message"),
    [
        ([], "", "The form names none"),
        (["1"], "{}", "ids and a query"),
        ([], "{'a': 1}", "is no query"),
        ([], "[1]", "is no query"),
        ([], '{"$oid": "65a000000000000000000001"}', "is no query"),
    ],
)
def test_nonsense(ids: list[str], query: str, message: str) -> None:
    with pytest.raises(RowRecoveryError, match=message):
        wanted_documents("people", ids, query)


def test_what_is_not_there(recovery: Recovery, mongo_database: MongoDatabase) -> None:
    with pytest.raises(RowRecoveryError, match="has no such documents"):
        recovery.find("nobody")
    with pytest.raises(RowRecoveryError, match="was not understood"):
        recovery.find(query='{"a": {"$nonsense": 1}}')
    with pytest.raises(RowRecoveryError, match="gone is no collection of") as caught:
        require_collection(recovery.live, "gone")
    assert "others, people" in caught.value.remedy
    recovery.wanted = wanted_documents("gone", ["1"], "")
    with pytest.raises(RowRecoveryError, match="no collection of documents gone"):
        load_documents(recovery.scratch, recovery.lab.reader(recovery.manifest), recovery.wanted, Cancellation())
