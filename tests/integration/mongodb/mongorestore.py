"""Stands in for mongorestore, which cannot be installed here: reads a dump as the documentation of mongodump has it.

mongorestore --config=FILE --db=NAME --stopOnError --bypassDocumentValidation --convertLegacyIndexes
    [--restoreDbUsersAndRoles] DIRECTORY
"""

import argparse
import json
from pathlib import Path
from urllib.parse import unquote

import bson
import yaml
from bson import json_util
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

parser = argparse.ArgumentParser()
parser.add_argument("--config", type=Path, required=True)
parser.add_argument("--db", required=True)
parser.add_argument("--stopOnError", action="store_true", required=True)
parser.add_argument("--bypassDocumentValidation", action="store_true", required=True)
parser.add_argument("--convertLegacyIndexes", action="store_true", required=True)
parser.add_argument("--restoreDbUsersAndRoles", action="store_true")
parser.add_argument("directory", type=Path)
options = parser.parse_args()

assert json.loads((options.directory.parent / "prelude.json").read_text())["ServerVersion"]
database = MongoClient(yaml.safe_load(options.config.read_text())["uri"])[options.db]
if options.restoreDbUsersAndRoles:
    for name in ("users", "roles", "version"):
        list(bson.decode_file_iter((options.directory / f"$admin.system.{name}.bson").open("rb")))
for file in sorted(options.directory.glob("*.metadata.json")):
    metadata = json_util.loads(file.read_text(), json_options=json_util.CANONICAL_JSON_OPTIONS)
    assert len(metadata["uuid"]) in (0, 32)
    assert json.loads(file.read_text())["collectionName"] == metadata["collectionName"]
    name, is_view = metadata["collectionName"], metadata["type"] == "view"
    assert unquote(file.name) == f"{name}.metadata.json" or len(file.name) > 200
    database.command({"create": name, **metadata["options"]})
    data = "system.buckets." + name if metadata["type"] == "timeseries" else name
    content = file.with_name(file.name.replace(".metadata.json", ".bson") if data == name else f"{data}.bson")
    assert content.exists() != is_view
    if not is_view and (documents := bson.decode_all(content.read_bytes(), bson.CodecOptions(RawBSONDocument))):
        database[data].insert_many(documents)
    if wanted := [index for index in metadata["indexes"] if index["name"] != "_id_"]:
        database.command({"createIndexes": name, "indexes": wanted})
