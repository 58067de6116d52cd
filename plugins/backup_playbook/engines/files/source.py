"""Backup of a tree of files: scan, guard, sync."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from backup_playbook.core.details import Details
from backup_playbook.core.errors import ConfigError, PlaybookError, SourceError
from backup_playbook.core.files_guard import DeleteLimits, Losses, reason_to_stop
from backup_playbook.core.model import Manifest
from backup_playbook.core.tree import Outcome, current_folder, hashed_folder
from backup_playbook.engines.files.base import Base, CurrentState, base_of, is_damage, taken
from backup_playbook.engines.files.details import FilesDetails, ScanDetails
from backup_playbook.engines.files.plan import Action, Plan, Step
from backup_playbook.engines.files.shards import ShardWriter
from backup_playbook.engines.files.sync import Sync
from backup_playbook.engines.files.trees import Tree
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.layout import objects_folder
from backup_playbook.repository.objects import BackupReader, BackupWriter
from backup_playbook.repository.store import ObjectStore
from backup_playbook.repository.versions import require_versioning
from backup_playbook.streams.processes import Cancellation

log = logging.getLogger(__name__)

ENGINE = "files"
_DONE = ("uploaded", "renamed", "same", "silently_changed", "deleted", "gone", "adopted", "healed")
GONE_NAMED = 10
"""Most paths that the guard names to the person who is asked."""


@dataclass(frozen=True)
class FilesOptions:
    """Options of a source. rehash_every: every so many backups, all contents are read, changed or not."""

    limits: DeleteLimits = field(default_factory=DeleteLimits)
    rehash_every: int = 30
    storage_class: str = "STANDARD_IA"
    files_at_once: int = 8


@dataclass(frozen=True)
class FilesSource:
    """A tree to back up; see `engines.contract.Source`. Different workers may run its steps, one by one.

    anew: rely on nothing that is stored.
    """

    tree: Tree
    options: FilesOptions = field(default_factory=FilesOptions)
    anew: bool = False

    def dump(self, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
        """Run all steps. Raises SourceError when too much is gone: nobody is asked here."""
        draft = self.scan(writer, cancellation)
        if reason := reason_to_stop(losses(draft), self.options.limits):
            raise SourceError(
                reason,
                "If they were meant to go, run nightly_file_backup, and approve it there. If not, find out who did "
                "it: the backups have them all.",
            )
        manifest = self.sync(writer, draft, cancellation)
        forget(writer, draft)
        return manifest

    def scan(self, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
        """Write the plan as objects of `writer`, and count it; the current state is not changed.

        Raises SourceError for an unreadable tree, ConfigError and RepositoryError for an unfit repository.
        """
        cancellation.check()
        _require_plain(writer)
        require_versioning(writer.store)
        base = base_of(Catalog(writer.store), writer.source, writer.codec, writer.backup_id)
        try:
            return self._scan(base, writer, cancellation)
        except PlaybookError as error:
            if not is_damage(error):
                raise
            # of the newest tree, since it was verified; else of a backup that is copied
            known = base_of(Catalog(writer.store), writer.source, writer.codec, writer.backup_id, whole=True)
            if (known.known_id, known.trusted) == (base.known_id, base.trusted):
                raise
            return self._scan(known, writer, cancellation)

    def _scan(self, base: Base, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
        previous = base.known if base.trusted and not self.anew else None
        relied_on = FilesDetails.of(previous.manifest) if previous else None
        run = relied_on.runs_since_rehash + 1 if relied_on else 0
        rehash = not previous or run >= self.options.rehash_every
        plan = Plan(self.tree, base.known, rehash, cancellation, _current_state(base, writer))
        shards, counts, gone = ShardWriter(writer, "plan"), Counter[str](), _Gone()
        for step in plan.differences():
            counts[step.action] += 1
            gone.look_at(step)
            shards.add(step.entry.path, step.to_line())
        shards.flush()
        before = FilesDetails.of(base.known.manifest).losses if base.known else {}
        # a tree of dumps, say, which are written anew every night
        lost = plan.losses(usual=before.get("rewritten", 0) > before.get("before", 0) / 2)
        details = ScanDetails(
            newest=base.newest,
            known=base.known_id,
            previous=base.known_id if previous else "",
            relies_on=relied_on.relies_on if relied_on else writer.backup_id,
            runs_since_rehash=0 if rehash else run,
            plan=dict(counts),
            losses=asdict(lost) | {"rewritten": plan.counts["rewritten"]},
            hidden=plan.counts["hidden"],
            mounts_gone=tuple(plan.mounts_gone),
            gone=tuple(gone.names),
            entries=plan.counts["entries"],
            shards=tuple(shards.shards),
        )
        log.info(
            "%d entries: %d new, %d changed, %d with other attributes, %d gone%s.",
            plan.counts["entries"], counts["add"], counts["change"], counts["touch"], counts["remove"],
            "; every content is read again" if previous and rehash else "",
        )  # fmt: skip
        return self._manifest(writer, shards, writer.started_at, details)

    def sync(self, writer: BackupWriter, draft: Manifest, cancellation: Cancellation) -> Manifest:
        """Carry out the plan. When it is cut short, every file of every sealed backup is still there.

        Raises SourceError, before anything is changed, when another backup was sealed since the scan.
        """
        catalog = Catalog(writer.store)
        _require_newest(catalog, writer, draft)
        known = None
        found = ScanDetails.of(draft)
        if found.known:
            known = BackupReader(writer.store, catalog.manifest(writer.source, found.known), writer.codec)
        sync = Sync(
            self.tree, self._current(writer.store), writer, known, self.options.files_at_once, cancellation,
            self.options.limits, losses(draft).files,
            anew=not found.previous, outdated=found.newest > writer.backup_id,
        )  # fmt: skip
        shards = sync.run(BackupReader(writer.store, draft, writer.codec))
        counts = sync.counts
        details = FilesDetails(
            previous=found.previous,
            relies_on=found.relies_on,
            runs_since_rehash=found.runs_since_rehash,
            losses=found.losses,
            mounts_gone=found.mounts_gone,
            files=counts["type_file"],
            directories=counts["type_directory"],
            symlinks=counts["type_symlink"],
            hard_links=counts["hard_links"],
            bytes=counts["bytes"],
            new_bytes=counts["new_bytes"],
            done={name: counts[name] for name in _DONE},
            outcomes={
                name.removeprefix("outcome_"): number for name, number in counts.items() if name.startswith("outcome_")
            },
            unreadable=found.hidden + counts[f"outcome_{Outcome.UNREADABLE}"],
            examples=tuple(sync.examples),
            folders=dict(sync.folders),
            current=current_folder(writer.source),
            hashed=hashed_folder(writer.source),
            shards=tuple(shards.shards),
        )
        return self._manifest(writer, shards, draft.started_at, details)

    def _current(self, store: ObjectStore) -> ObjectStore:
        options = replace(store.options, storage_class=self.options.storage_class)
        return ObjectStore(store.client, bucket=store.bucket, prefix=store.prefix, name=store.name, options=options)

    def _manifest(self, writer: BackupWriter, shards: ShardWriter, started_at: datetime, details: Details) -> Manifest:
        return writer.manifest(
            ENGINE,
            started_at=started_at,
            snapshot_at=started_at,
            details={**self.tree.details, **details.written()},
            objects=shards.objects,
        )


@dataclass
class _Gone:
    """The first paths that are gone, or cannot be read; of a folder, not what was in it."""

    names: list[str] = field(default_factory=list)
    _within: bytes = b""

    def look_at(self, step: Step) -> None:
        entry, unreadable = step.entry, step.entry.outcome == Outcome.UNREADABLE
        if not (unreadable or step.action is Action.REMOVE) or len(self.names) == GONE_NAMED:
            return
        if not (self._within and entry.path.startswith(self._within)):
            self.names.append(f"{entry.name} ({entry.reason})" if unreadable else entry.name)
            self._within = entry.path if entry.is_directory else b""


def losses(draft: Manifest) -> Losses:
    """Read the losses that `scan` counted."""
    found = ScanDetails.of(draft).losses
    return Losses(**{name: number for name, number in found.items() if name != "rewritten"})


def forget(writer: BackupWriter, draft: Manifest) -> None:
    """Remove what `scan` wrote for `sync`."""
    folder = objects_folder(writer.source, writer.backup_id)
    writer.store.delete(folder + item.name for item in draft.objects)


def _current_state(base: Base, writer: BackupWriter) -> CurrentState | None:
    """List the current state only when a run may have left something: millions take minutes."""
    if base.outdates(writer.backup_id):
        log.warning(
            "%s is older than %s, the newest backup in %s: the current state stays that of the newest one.",
            writer.backup_id, base.newest, writer.store.url,
        )  # fmt: skip
        return None
    return None if base.clean else CurrentState(writer.store, writer.source, base.since)


def _require_newest(catalog: Catalog, writer: BackupWriter, draft: Manifest) -> None:
    """Raise SourceError when a newer backup was sealed since the scan: the plan would turn it back."""
    newest = max((entry.backup_id for entry in taken(catalog, writer.source)), default="")
    if newest > max(ScanDetails.of(draft).newest, writer.backup_id):
        raise SourceError(
            f"Since this run has scanned {writer.source}, the backup {newest} was sealed: the scan is of "
            f"{draft.started_at:%Y-%m-%d %H:%M} UTC, and carried out now it would turn the current state back.",
            "Nothing was changed, and nothing is missing from the newer backup: leave this run as it is. For another "
            "backup clear its task `scan`, which looks again, or start a new run.",
        )


def _require_plain(writer: BackupWriter) -> None:
    if writer.codec.keyring is not None:
        raise ConfigError(
            f"The source {writer.source} is a tree of files, which we do not encrypt: any S3 tool must be able to read "
            "its current state.",
            "Set `encryption: null` for it, and let the bucket encrypt: a default encryption with SSE-KMS.",
        )
