"""Collections and views as a backup describes them."""

from __future__ import annotations

from functools import partial

from bson.errors import BSONError

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.engines.mongodb.collections import Collection, metadata_file, object_name
from backup_playbook.engines.mongodb.details import SNAPSHOT, MongoDetails
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.parallel import Job, run_by_size
from backup_playbook.streams.processes import Cancellation


def consistency_note(manifest: Manifest) -> str:
    """Tell people which collections were read at a time of their own; empty for one snapshot."""
    details = MongoDetails.of(manifest)
    if details.consistency != SNAPSHOT:
        return ", each collection at a moment of its own"
    own = details.unsnapshotted
    return f", but {', '.join(own)} at a moment of {'their' if len(own) > 1 else 'its'} own" if own else ""


def left_out(manifest: Manifest) -> tuple[str, ...]:
    """List, in words, what no restored copy of this backup gets."""
    search = MongoDetails.of(manifest).search_indexes
    if search is None:
        return ("users and roles", "search indexes, if there are any: the user who took the backup may not list them")
    named = (f"the search indexes {', '.join(names)} of {name}" for name, names in sorted(search.items()))
    return ("users and roles", *named)


def metadata_names(manifest: Manifest) -> dict[str, str]:
    """Map the objects that hold options and indexes to the names of their collections and views."""
    names = (*(table.name for table in manifest.tables), *MongoDetails.of(manifest).views)
    return {_metadata_object(manifest, name): name for name in names}


def _metadata_object(manifest: Manifest, name: str) -> str:
    suffix = ".zst" if manifest.encryption.method == "none" else ".zst.gpg"
    return object_name(metadata_file(MongoDetails.of(manifest).database, name)) + suffix


def read_collections(reader: BackupReader, streams: int, cancellation: Cancellation) -> list[Collection]:
    """Read all collections of a backup, sorted by name. Raises VerificationError."""

    def read(item: StoredObject) -> Collection:
        return read_collection(reader.manifest, item, reader.content(item))

    jobs = [Job(0, partial(read, item)) for item in reader.objects(ObjectKind.METADATA)]
    return sorted(run_by_size(jobs, streams, cancellation), key=lambda collection: collection.name)


def read_collection(manifest: Manifest, item: StoredObject, content: Blocks) -> Collection:
    """Read one collection. Raises VerificationError when it is not the one that the object is named after."""
    text = b"".join(content)
    try:
        found: Collection | None = Collection.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError, BSONError):
        found = None
    if found is None or _metadata_object(manifest, found.name) != item.name:
        raise VerificationError(
            f"{item.name} does not hold the options and indexes of the collection that it is named after.",
            "Use another backup, or the off-site copy, and find out who wrote to the bucket.",
        )
    return found
