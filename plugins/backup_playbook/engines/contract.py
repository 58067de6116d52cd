"""The contract of engines, in abilities: scenarios, repository and evidence know engines only through this.

| ability | who has it |
|---|---|
| `Source`, `Target`, `Engine` | every engine |
| `DatabaseEngine`, `CopyServer` | an engine of databases: its backups are restored as copies on other servers |
| `live_database.LiveDatabase` | an engine whose production a restored copy can replace |
| `record_recovery.RecordRecovery` | an engine that finds single records in a backup and puts them back |
| `SharesContent` | an engine whose backups share stored content |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest, StoredObject
from backup_playbook.core.proof import Proof
from backup_playbook.core.words import EngineWords
from backup_playbook.engines.scratch import Scratch
from backup_playbook.repository.objects import BackupReader, BackupWriter
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation


class Source(Protocol):
    """Something live that can be backed up: an engine bound to a connection."""

    def dump(self, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
        """Stream one consistent moment of the source into `writer`; return the manifest, not sealed yet.

        Raises SourceError, before anything is written where possible, when the copy would not be complete.
        """
        ...


class Target(Protocol):
    """An empty place that one backup is restored into. Its verbs may be called by different workers, one after another.

    All raise GuardError, before they touch anything, when they would touch what the configuration names as production.
    """

    @property
    def label(self) -> str:
        """Name in messages: kind and place."""
        ...

    def create(self, manifest: Manifest) -> None:
        """Check first, then make the place. Raises RestoreError that names everything that is missing, at once."""
        ...

    def restore(self, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        """Fill the place; return the seconds of each phase.

        Raises RestoreError, and VerificationError or EncryptionError when the backup is damaged. What was done until
        then stays, incomplete, until `drop`.
        """
        ...

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Proof:
        """Compare everything in the place with the backup. Raises UnequalError that names all differences."""
        ...

    def drop(self) -> None:
        """Remove the place with all that is in it. Does nothing when it is gone."""
        ...


class ScratchHost(Protocol):
    """A server that scratch databases are made on."""

    def list_scratches(self) -> Sequence[Scratch]:
        """List all that there are, also those of other runs and of killed workers. Raises SourceError."""
        ...

    def drop(self, name: str) -> None:
        """Drop one; do nothing when it is gone. Raises GuardError, and drops nothing, when it is no scratch of ours."""
        ...


class ScratchTarget(Target, Protocol):
    """A scratch as the target of one restore. name: from `engines.scratch.scratch_name`."""

    @property
    def name(self) -> str:
        """Its name on the server."""
        ...

    @property
    def host(self) -> ScratchHost:
        """The server that it is made on."""
        ...

    @property
    def takes_applications(self) -> bool:
        """Whether an application can be sent to it, by `url`."""
        ...

    @property
    def url(self) -> str:
        """The address that applications take as DATABASE_URL; it holds the password."""
        ...

    def identify(self) -> str:
        """Return the engine's own mark of the copy, for `Exchange.candidate_id`; empty where the name is enough."""
        ...

    def lacks_for_owners(self, reader: BackupReader) -> str:
        """Say why a copy with owners and grants cannot be tried here; empty: it can, or the engine has none."""
        ...

    def ask(self, query: str) -> Any:
        """Return the first value that a read-only query finds. Raises RestoreError with what the server says."""
        ...

    def keep(self, name: str) -> None:
        """Let the proven copy stay under this name: it is no scratch any more. Can be repeated.

        Raises GuardError when it is production or no scratch, RestoreError when another database has the name.
        """
        ...

    def is_kept(self, name: str) -> bool:
        """Say whether `keep` was done with this name. Then there may be nothing to drop, and `drop` may refuse it."""
        ...


@dataclass(frozen=True)
class CopyOptions:
    """Choices for a copy. An engine that lacks one ignores it; the form says so.

    only: schemas and tables whose rows are restored; empty: all. leave_out: definitions that it goes without.
    owners: with owners and grants.
    """

    only: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    owners: bool = False


WHOLE = CopyOptions()


@dataclass(frozen=True)
class Scope:
    """The part of a backup that a copy gets. only: as it was asked for; empty: all. left_out: in words.

    tables: whose rows come, as `namespace.name`. rows, content_bytes: of these.
    """

    tables: Sequence[str]
    rows: int
    content_bytes: int
    left_out: Sequence[str]
    only: Sequence[str] = ()


@dataclass(frozen=True)
class Room:
    """A server for a copy. label: for people. free: bytes, None when it could not be found out."""

    label: str
    free: int | None


class CopyServer(ScratchHost, Protocol):
    """A server of targets.yaml, on which copies of one source are made.

    What is production is asked for only when something is about to be written or dropped.
    """

    def new_name(self, source: str, kept: str) -> str:
        """Return a name for a new scratch. kept: the name that the copy will keep; empty: it is dropped."""
        ...

    def scratch(self, name: str, owner: str = "", options: CopyOptions = WHOLE) -> ScratchTarget:
        """Return the scratch of this name, made already or not. Contacts nobody."""
        ...

    def require_room(self, name: str, content_bytes: int) -> Room:
        """Look whether a copy fits. name: that it will keep; empty when it keeps none.

        Raises RestoreError when there is no room, or when the name does not fit or is taken.
        """
        ...


class Engine(Protocol):
    """Knowledge of a backup without its source."""

    name: str
    words: EngineWords

    def summary(self, manifest: Manifest) -> str:
        """Say how much the backup holds, and of how many moments: `12 tables, 3,000 rows`."""
        ...

    def check_content(self, manifest: Manifest, item: StoredObject, content: Blocks) -> None:
        """Read the content of an object to its end and compare it with the manifest. Raises VerificationError."""
        ...

    def check_manifest(self, manifest: Manifest) -> list[str]:
        """List, in sentences, what the manifest lacks to be a complete backup of this engine."""
        ...

    def restore_script(self, manifest: Manifest, repository_url: str) -> str:
        """Write a bash script that restores with stock tools from `repository_url` (s3://bucket/prefix)."""
        ...


class DatabaseEngine(Engine, Protocol):
    """Knowledge of a backup of a database."""

    def scope(self, reader: BackupReader, options: CopyOptions) -> Scope:
        """Say what a copy with these options gets. Raises RestoreError for options that name nothing."""
        ...

    def database(self, manifest: Manifest) -> str:
        """Return the name of the database that was backed up."""
        ...

    def undo_kept(self, name: str) -> str:
        """Return the statement that drops a copy which was kept under this name."""
        ...


@runtime_checkable
class SharesContent(Protocol):
    """An engine whose backups share content: it lies outside of the folders of their own objects."""

    def check_shared(
        self, reader: BackupReader, streams: int, cancellation: Cancellation, *, read: bool
    ) -> list[VerificationError]:
        """Find shared content that is not as the backup says.

        read: compare contents; else what the object store knows of them.
        """
        ...
