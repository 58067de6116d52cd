"""What is read before a restore beside production: nothing that a person needs to know is missing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_playbook.core.restore_plan import RestorePlan
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.mongodb.engine import MongoEngine
from backup_playbook.engines.postgres.engine import PostgresEngine

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def plan(**changes: Any) -> RestorePlan:
    values: dict[str, Any] = {
        "words": PostgresEngine.words,
        "backup_id": "20261123T020004Z-7f3a91",
        "repository": "offsite",
        "taken_at": NOW - timedelta(hours=10),
        "known": "proven by a restore on 2026-11-23",
        "database": "shop_copy",
        "server": "postgres at db.example.com:5432 as restorer (staging)",
        "only": (),
        "tables": 12,
        "rows": 1200,
        "content_bytes": 3 << 20,
        "left_out": ("subscriptions", "the foreign key a of public.b, to rows that are not restored"),
        "free": 5 << 30,
        "undo": "DROP DATABASE shop_copy;",
        "estimate": timedelta(minutes=2),
        "rto": timedelta(minutes=30),
    }
    return RestorePlan(**values | changes)


def test_plan() -> None:
    text = plan().to_markdown(NOW)
    for words in (
        "`20261123T020004Z-7f3a91` from repository offsite; taken 2026-11-23 02:00:00 UTC, 10 h 00 min ago; proven",
        "nothing that exists. A copy is made on the server of `postgres at db.example.com:5432",
        "all: 12 tables, 1,200 rows, 3.0 MB",
        "subscriptions; the foreign key a of public.b",
        "about 2 min 00 s; the objective (RTO) is 30 min 00 s",
        "5.0 GB; the copy needs at least 3.0 MB",
        "`shop_copy`, without owners and grants.",
        "**How to undo it:** `DROP DATABASE shop_copy;`",
    ):
        assert words in text


def test_plan_of_a_part_with_much_unknown() -> None:
    text = plan(only=["public.orders", "public.a|b"], tables=2, free=None, estimate=None).to_markdown(NOW)
    assert "only those of public.orders, public.a\\|b: 2 tables, 1,200 rows" in text
    assert "not measured yet" in text
    assert "**Free space:** unknown" in text


@pytest.mark.parametrize(("name", "quoted"), [("shop", '"shop"'), ('a"; DROP TABLE b; --', '"a""; DROP TABLE b; --"')])
def test_names_stay_names(name: str, quoted: str) -> None:
    assert PostgresEngine().undo_kept(name) == f"DROP DATABASE {quoted} WITH (FORCE);"


def test_mongodb_drops_in_its_own_words() -> None:
    assert MongoEngine().undo_kept('a"b') == r'db.getSiblingDB("a\"b").dropDatabase()'
    text = plan(words=EngineWords("collection", "document", not_copied="users and roles")).to_markdown(NOW)
    assert "without users and roles" in text
    assert "12 collections, 1,200 documents" in text
