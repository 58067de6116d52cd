"""Steps of a backup of files, for different workers: one leaves its result for the next beside the objects."""

from __future__ import annotations

import logging

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.files_guard import warnings
from backup_playbook.core.model import Manifest
from backup_playbook.core.progress import human_bytes
from backup_playbook.core.tree import Outcome
from backup_playbook.core.words import counted
from backup_playbook.engines.files.details import FilesDetails
from backup_playbook.engines.files.engine import FilesEngine
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import manifest_key, objects_folder
from backup_playbook.repository.store import ObjectStore

log = logging.getLogger(__name__)

SCANNED = "scanned.json"
"""Result of `scan`: a manifest whose objects are the plan."""
SYNCED = "synced.json"
"""The manifest of the backup, not sealed yet."""


def leave(store: ObjectStore, name: str, manifest: Manifest) -> None:
    """Store the result of a step."""
    store.put(objects_folder(manifest.source, manifest.backup_id) + name, manifest.sealed().to_json())


def take(store: ObjectStore, name: str, source: str, backup_id: str) -> Manifest:
    """Read the result of a step. Raises RepositoryError when there is none, VerificationError when it was changed."""
    key = objects_folder(source, backup_id) + name
    return Manifest.from_json(store.get(key), f"{store.url}/{key}")


def seal(store: ObjectStore, source: str, backup_id: str) -> Manifest:
    """Seal the result of `sync`; remove what the steps left for each other. May be called again."""
    catalog = Catalog(store)
    if not store.exists(manifest_key(source, backup_id)):
        manifest = take(store, SYNCED, source, backup_id)
        engine = FilesEngine()
        if problems := engine.check_manifest(manifest):
            raise VerificationError(
                f"The backup of {source} is not complete: {' '.join(problems)}",
                "Start a new run; report it if it stays.",
            )
        catalog.seal(manifest, engine.restore_script(manifest, store.url))
    manifest = catalog.manifest(source, backup_id)
    remove_all_but_named(store, manifest)
    log.info("%s %s is sealed: %s.", source, backup_id, in_words(manifest))
    return manifest


def remove_all_but_named(store: ObjectStore, manifest: Manifest) -> None:
    """Remove objects that a sealed backup does not name."""
    folder, named = objects_folder(manifest.source, manifest.backup_id), {item.name for item in manifest.objects}
    store.delete([item.key for item in store.list(folder) if item.key.removeprefix(folder) not in named])


def in_words(manifest: Manifest) -> str:
    """Describe a backup: `12,000 files, 3.1 GB: 12 uploaded (40 MB), 2 renamed, 1 deleted; 1 unreadable`."""
    details = FilesDetails.of(manifest)
    done = details.done
    words = {
        "renamed": "renamed",
        "deleted": "deleted",
        "gone": "gone meanwhile",
        "silently_changed": "silently changed",
        "adopted": "stored by a run that was cut short",
        "healed": "put back into the current state",
    }
    news = [f"{done['uploaded']:,} uploaded ({human_bytes(details.new_bytes)})"]
    news += [f"{done[name]:,} {word}" for name, word in words.items() if done.get(name)]
    odd = [f"{count:,} {outcome}" for outcome, count in details.outcomes.items() if outcome != Outcome.UNREADABLE]
    if linked := details.hard_links:
        odd.append(f"{linked:,} with other names (hard links), each to be a file of its own")
    text = f"{counted(details.files, 'file')}, {human_bytes(details.bytes)}: {', '.join(news)}"
    return "; ".join(filter(None, [text, ", ".join(odd), *warnings(manifest)]))
