"""What the customers of the shop say: a MongoDB database, with a validator, and sessions that expire."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Decimal128, ObjectId
from pymongo import MongoClient

BATCH = 5_000
WORDS = [
    "good", "bad", "late", "small", "large", "blue", "warm", "noisy", "sturdy", "cheap", "perfect", "broken", "soft",
    "strange", "never", "again",
]  # fmt: skip
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def load_reviews(uri: str, database: str, count: int = 20_000, seed: int = 1) -> None:
    """Into an empty database; the same data for the same seed."""
    with MongoClient[dict[str, Any]](uri) as client:
        found = client[database]
        found.create_collection("reviews", validator={"rating": {"$gte": 1, "$lte": 5}})
        batch: list[dict[str, Any]] = []
        for review in reviews(count, random.Random(seed)):
            batch.append(review)
            if len(batch) == BATCH:
                found["reviews"].insert_many(batch)
                batch = []
        if batch:
            found["reviews"].insert_many(batch)
        found["reviews"].create_index([("product", 1), ("written_at", -1)])
        found["sessions"].insert_many({"_id": f"s{number}", "seen_at": FIRST_DAY} for number in range(100))
        found["sessions"].create_index("seen_at", expireAfterSeconds=100 * 365 * 86_400)


def reviews(count: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Half a kilobyte each."""
    for number in range(count):
        text = " ".join(chance.choices(WORDS, k=chance.randint(5, 60)))
        yield {
            "_id": ObjectId(f"{number + 1_700_000_000:08x}{chance.getrandbits(64):016x}"),
            "product": chance.randrange(1, 500),
            "rating": chance.randint(1, 5),
            "price_paid": Decimal128(f"{chance.randrange(100, 99_999) / 100:.2f}"),
            "text": text,
            "tags": chance.sample(WORDS, k=3),
            "author": {"name": f"customer {chance.randrange(10_000)}", "verified": chance.random() < 0.7},
            "written_at": FIRST_DAY + timedelta(seconds=number * 60),
        }
