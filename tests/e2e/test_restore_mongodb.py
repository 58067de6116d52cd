"""A MongoDB database put back as it was, and forth again: by form, approval and REST."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from backup_playbook.engines.mongodb.collections import SETS
from backup_playbook.engines.mongodb.connection import MongoServer
from backup_playbook.engines.mongodb.quarantine import drop_quarantine, find_quarantine
from embedded.stack import REVIEWS_DATABASE
from tests.e2e.playground import Playground, Run
from tests.e2e.test_monthly_restore_test import stored
from tests.e2e.test_recover_corrupted_database import Answered, answer

LATE = "written after the backup"


def has_late(playground: Playground, collection: str = "reviews") -> bool:
    with MongoClient[Any](playground.stack.mongo.uri) as client:
        return client[REVIEWS_DATABASE][collection].find_one({"_id": LATE}) is not None


@pytest.fixture(scope="module")
def replaced(playground: Playground, next_night: Run) -> Iterator[Answered]:
    with MongoClient[Any](playground.stack.mongo.uri) as client:
        client[REVIEWS_DATABASE]["reviews"].insert_one({"_id": LATE})
    yield answer(playground, "restore_database", "Approve", source="reviews", target="production")
    server = MongoServer(playground.stack.mongo.uri, REVIEWS_DATABASE)
    drop_quarantine(server, "reviews", find_quarantine(server, "reviews", "newest").name)
    with MongoClient[Any](playground.stack.mongo.uri) as client:
        client[REVIEWS_DATABASE]["reviews"].delete_one({"_id": LATE})
        assert SETS not in client[REVIEWS_DATABASE].list_collection_names()


@pytest.fixture(scope="module")
def brought_back(playground: Playground, replaced: Answered) -> Answered:
    return answer(playground, "rollback_promotion", "Approve", source="reviews")


def test_production_is_replaced_after_staging_and_approval(replaced: Answered, playground: Playground) -> None:
    assert replaced.state == "success"
    assert "What staging has shown" in replaced.plan
    assert replaced.states["staging.keep_copy"] == "skipped"
    assert any("reviews was recovered from" in text for text in replaced.told)
    report = stored(playground, replaced.result("document_restore")["report"]).decode()
    assert "the collections were exchanged within" in report
    assert 'airflow dags trigger rollback_promotion --conf \'{"source": "reviews"' in report


def test_quarantine_comes_back(replaced: Answered, brought_back: Answered, playground: Playground) -> None:
    assert brought_back.state == "success"
    assert has_late(playground)
    assert "which restore_database replaced" in brought_back.plan
    exchanged = brought_back.result("plan_rollback")["next_quarantine"]
    assert not has_late(playground, f"{exchanged}.reviews")
