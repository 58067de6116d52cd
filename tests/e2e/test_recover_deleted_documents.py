"""Deleted reviews, back by form, approval and REST; and gone again by the undo."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from embedded.stack import REVIEWS_DATABASE
from tests.e2e.playground import Playground, Run
from tests.e2e.test_monthly_restore_test import stored
from tests.e2e.test_recover_corrupted_database import Answered, answer

DAG_ID = "recover_deleted_documents"


def reviews(playground: Playground) -> list[Any]:
    with MongoClient[Any](playground.stack.mongo.uri) as client:
        return list(client[REVIEWS_DATABASE]["reviews"].find(sort=[("_id", 1)]))


@pytest.fixture(scope="module")
def before(playground: Playground, next_night: Run) -> Iterator[list[Any]]:
    """The reviews, the first three of which are gone now, and there again for other tests."""
    found = reviews(playground)
    with MongoClient[Any](playground.stack.mongo.uri) as client:
        client[REVIEWS_DATABASE]["reviews"].delete_many({"_id": {"$in": [one["_id"] for one in found[:3]]}})
    assert reviews(playground) == found[3:]
    yield found
    with MongoClient[Any](playground.stack.mongo.uri) as client:
        for one in found[:3]:
            client[REVIEWS_DATABASE]["reviews"].replace_one({"_id": one["_id"]}, one, upsert=True)


@pytest.fixture(scope="module")
def approved(playground: Playground, before: list[Any]) -> Answered:
    ids = [str(one["_id"]) for one in before[:3]]
    return answer(playground, DAG_ID, "Approve", source="reviews", collection="reviews", ids=ids)


def test_documents_are_back(approved: Answered, playground: Playground, before: list[Any]) -> None:
    assert approved.state == "success"
    assert "| reviews | 3 |" in approved.plan
    assert reviews(playground) == before
    assert any("Back in reviews: 3 documents" in text for text in approved.told)


def test_undo_takes_them_back(approved: Answered, playground: Playground, before: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "undo.json"
    file.write_bytes(stored(playground, approved.result("import_documents")["undo"]))
    module = "backup_playbook.engines.mongodb.document_undo"
    environment = {"PYTHONPATH": "plugins", "MONGODB_URI": playground.stack.mongo.uri}
    result = subprocess.run(
        [sys.executable, "-m", module, file], env=environment, check=True, capture_output=True, text=True
    )
    assert result.stdout.startswith("Taken back: 3 documents of reviews;")
    assert reviews(playground) == before[3:]
