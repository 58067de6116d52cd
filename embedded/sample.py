"""What the embedded stack protects: the sample's reviews and uploads beside its shop, and how all are configured."""

import shutil
from pathlib import Path
from typing import Any

import yaml
from pymongo import MongoClient

from embedded.stack import PROJECT, REVIEWS_DATABASE, Stack
from include.sample.reviews import load_reviews
from include.sample.uploads import write_uploads

REVIEWS = {
    "engine": "mongodb",
    "connection": "mongo_reviews",
    "repository": "primary",
    "retention": "standard",
    "objectives": "standard",
    "minimum_size": "100kB",
    "restore_test": {"target": "mongo_staging"},
    "recovery": {"connection": "mongo_reviews"},
}
TARGET = {"engine": "mongodb", "connection": "mongo_staging"}


def load_reviews_and_uploads(stack: Stack) -> None:
    """What is missing: the server of the reviews keeps nothing."""
    write_uploads(stack.uploads)
    if stack.has_mongo:
        with MongoClient[dict[str, Any]](stack.mongo.uri) as client:
            if REVIEWS_DATABASE not in client.list_database_names():
                load_reviews(stack.mongo.uri, REVIEWS_DATABASE)


def configure(stack: Stack, folder: Path) -> Path:
    """A copy of include/config in `folder`, of this stack; what is changed in include/config comes with it."""
    shutil.copytree(PROJECT / "include" / "config", folder, dirs_exist_ok=True)
    sources, targets = (yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("sources", "targets"))
    sources["sources"]["uploads"]["directory"] = str(stack.uploads)
    targets["targets"]["restores"]["directory"] = str(stack.restores)
    if stack.has_mongo:
        sources["sources"]["reviews"] = REVIEWS
        targets["targets"]["mongo_staging"] = TARGET
    for name, document in (("sources", sources), ("targets", targets)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder
