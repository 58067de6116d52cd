"""Opening a backup for a restore, the same for every engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from backup_playbook.core.errors import EncryptionError, VerificationError
from backup_playbook.engines.contract import Engine
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.codec import Codec

log = logging.getLogger(__name__)


def open_backup(catalog: Catalog, engine: Engine, source: str, backup_id: str, codec: Codec) -> BackupReader:
    """Open a backup if its manifest is intact, complete and of this engine, and `codec` can decode it.

    Raises RepositoryError, VerificationError, EncryptionError.
    """
    manifest = catalog.manifest(source, backup_id)
    remedy = "Use another backup, or the off-site copy, and find out who wrote to the bucket."
    if manifest.engine != engine.name:
        raise VerificationError(
            f"{source} {backup_id} is a backup of the engine {manifest.engine}, not of {engine.name}.",
            "Correct `engine` of this source in sources.yaml, or choose a backup that was taken since it changed.",
        )
    if problems := engine.check_manifest(manifest):
        raise VerificationError(f"{source} {backup_id} is not complete: {' '.join(problems)}", remedy, tuple(problems))
    if (manifest.encryption.method != "none") != (codec.keyring is not None) or not codec.can_decode:
        raise EncryptionError(
            f"{source} {backup_id} is stored with encryption {manifest.encryption.method!r}, which the key of this "
            "task does not open.",
            "Give the source the `encryption` that it had when this backup was taken, and run the task on the queue "
            "whose workers hold the key.",
        )
    return BackupReader(catalog.store, manifest, codec)


def timed(name: str, phase: Callable[[], None]) -> float:
    """Run a phase of a restore; return its seconds."""
    start = time.monotonic()
    phase()
    seconds = time.monotonic() - start
    log.info("%s: %.1f s.", name, seconds)
    return seconds
