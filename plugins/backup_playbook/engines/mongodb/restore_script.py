"""The script restore.sh: brings a backup back with mongorestore, without Airflow and this project.

Names of collections are data: they reach bash only through shlex.quote.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from backup_playbook.core.model import Manifest, ObjectKind
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.mongodb.archive import metadata_names
from backup_playbook.engines.mongodb.collections import WORDS, Collection, bson_file, metadata_file
from backup_playbook.engines.mongodb.details import PER_COLLECTION, SNAPSHOT, MongoDetails
from backup_playbook.engines.stock_tools import fetched, fill, one_line

_TEMPLATE = Path(__file__).with_name("restore.sh.template")
_CONSISTENCY = {
    SNAPSHOT: "The backup shows one moment of all collections.",
    PER_COLLECTION: "The backup shows each collection at a moment of its own: the server had no snapshots of them.",
}


def render(manifest: Manifest, repository_url: str) -> str:
    """Write restore.sh for a backup."""
    documents = f"{WORDS.amount(len(manifest.tables), manifest.rows)}, {human_bytes(manifest.content_bytes)}"
    words = {
        "CONSISTENCY": one_line(_consistency(manifest)),
        "SIZE": human_bytes(manifest.content_bytes),
        "KILOBYTES": str(manifest.content_bytes // 1024 + 1),
        "SUMMARY": documents,
        "DATABASE": shlex.quote(MongoDetails.of(manifest).database),
        "VERSION": MongoDetails.of(manifest).server_version,
        "SERVER": shlex.quote(MongoDetails.of(manifest).server_version),
        "BODY": "\n".join(_body(manifest)),
    }
    return fill(_TEMPLATE, manifest, repository_url, words)


def _consistency(manifest: Manifest) -> str:
    own = MongoDetails.of(manifest).unsnapshotted
    more = f" Capped collections are at a moment of their own: {', '.join(own)}." if own else ""
    return _CONSISTENCY[MongoDetails.of(manifest).consistency] + more


def _body(manifest: Manifest) -> Iterator[str]:
    objects = {item.name: item for item in manifest.objects}
    for name, collection in metadata_names(manifest).items():
        yield f"get {fetched(objects[name])} {_file(metadata_file(MongoDetails.of(manifest).database, collection))}"
    for table in manifest.tables:
        file = _file(bson_file(table.namespace, Collection(table.name, table.kind, {}).data_name))
        yield f'touch "$work/dump/"{file}'
        for part in table.parts:
            yield f"get {fetched(objects[part.object])} {file}"
    if users := [item for item in manifest.objects if item.kind is ObjectKind.USERS]:
        yield "if [[ ${USERS:-0} == 1 ]]; then"
        for item in users:
            yield f"    get {fetched(item)} {_file(item.name.removesuffix('.gpg').removesuffix('.zst'))}"
        yield "    users=(--restoreDbUsersAndRoles)\nfi"


def _file(name: str) -> str:
    """Quote the name of a file in the folder of its database."""
    return shlex.quote(name.partition("/")[2])
