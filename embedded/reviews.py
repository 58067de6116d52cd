"""The MongoDB database beside the shop, for the demo and the end-to-end tests: its data, and how it is configured."""

import shutil
from pathlib import Path
from typing import Any

import yaml
from pymongo import MongoClient

from embedded.stack import PROJECT, REVIEWS_DATABASE, Stack
from include.sample.reviews import load_reviews

SOURCE = {
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


def load(stack: Stack) -> None:
    """Once for each start of its server, which keeps nothing."""
    with MongoClient[dict[str, Any]](stack.mongo.uri) as client:
        if REVIEWS_DATABASE not in client.list_database_names():
            load_reviews(stack.mongo.uri, REVIEWS_DATABASE)


def configure(folder: Path) -> Path:
    """A copy of include/config in `folder`, with this source; what is changed in include/config comes with it."""
    shutil.copytree(PROJECT / "include" / "config", folder, dirs_exist_ok=True)
    for file, section, entry in (
        ("sources.yaml", "sources", {"reviews": SOURCE}),
        ("targets.yaml", "targets", {"mongo_staging": TARGET}),
    ):
        document = yaml.safe_load((folder / file).read_text())
        document[section] |= entry
        (folder / file).write_text(yaml.safe_dump(document, sort_keys=False))
    return folder
