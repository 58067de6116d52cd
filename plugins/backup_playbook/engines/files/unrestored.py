"""Record of paths that could not be restored, while all others were."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from backup_playbook.core.errors import PlaybookError, RepositoryError, RestoreError, VerificationError
from backup_playbook.core.tree import Entry, key_of
from backup_playbook.core.words import counted
from backup_playbook.engines.files.place import PathError
from backup_playbook.repository.objects import BackupReader
from backup_playbook.repository.s3errors import is_missing, is_of_object

log = logging.getLogger(__name__)

PROBLEMS_TOLD = 1_000
FAILED = "failed"
OTHER_COPIES = "Restore it from the off-site copy (*Repository*), or as it was in an older backup (list_file_versions)."
GONE = f"A lifecycle rule of the bucket, or a person, has removed this version: find out which. {OTHER_COPIES}"
ELSEWHERE = (
    "Bring them from the off-site copy (*Repository*), from an older backup, or by the commands in this task's log, "
    "which names each. To have all others proven without them, start a new run of this backup, by its id "
    "and with *Allow an unverified backup*, with their paths in *Leave out*."
)


@dataclass
class Unrestored:
    """Paths that were not written; used from several threads. damaged: some are not as backed up."""

    reader: BackupReader
    paths: int = 0
    damaged: bool = False
    told: list[str] = field(default_factory=list)
    _shards: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def attempt(self, work: Callable[[Entry], str], entry: Entry) -> str:
        """Return what `work` returns; FAILED when this path alone cannot be restored. Raises all else."""
        try:
            return work(entry)
        except VerificationError as error:
            self._note(entry.name, error.what, OTHER_COPIES, damaged=True)
        except PathError as error:
            self.unplaced(entry, error)
        except RepositoryError as error:
            if not is_of_object(error):
                raise
            gone = is_missing(error)
            self._note(entry.name, error.what, GONE if gone else f"{error.remedy} Or: {OTHER_COPIES}", damaged=gone)
        return FAILED

    def unplaced(self, entry: Entry, error: PathError) -> None:
        """Note a path that cannot be where it belongs, although its content is sound, as far as is known."""
        self._note(entry.name, error.what, " ".join(filter(None, (error.remedy, self._command(entry)))))

    def shard(self, error: PlaybookError) -> None:
        """Note an unusable list of paths, once, however often it was tried."""
        if error.what not in self._shards:
            self._shards.add(error.what)
            damaged = isinstance(error, VerificationError)
            remedy = OTHER_COPIES if damaged else f"{error.remedy} Or: {OTHER_COPIES}"
            self._note("paths that nobody knows", error.what, remedy, damaged=damaged)

    def refuse(self, where: str) -> None:
        """Raise VerificationError when something is damaged, RestoreError when it cannot be placed, or read."""
        if not self.paths:
            return
        what = f"{counted(self.paths, 'path')} could not be restored. All others are in {where}. First: {self.told[0]}"
        if self.damaged:
            raise VerificationError(what, ELSEWHERE, tuple(self.told))
        raise RestoreError(what, ELSEWHERE)

    def _note(self, name: str, what: str, remedy: str, *, damaged: bool = False) -> None:
        with self._lock:
            self.paths += 1
            self.damaged |= damaged
            if len(self.told) < PROBLEMS_TOLD:
                self.told.append(f"{name}: {what}")
                log.warning("Not restored: %r: %s What to do: %s", name, what, remedy or OTHER_COPIES)
            elif self.paths == PROBLEMS_TOLD + 1:
                log.warning("More than %s paths are not restored: the others are not named.", PROBLEMS_TOLD)

    def _command(self, entry: Entry) -> str:
        store = self.reader.store
        with contextlib.suppress(ValueError):  # a key of ours is never one that no store can have
            key = shlex.quote(store.path(key_of(self.reader.manifest.source, entry)))
            if entry.stored:
                return (
                    f"aws s3api get-object --bucket {store.bucket} --key {key} "
                    f"--version-id {shlex.quote(entry.version)} FILE"
                )
        return ""
