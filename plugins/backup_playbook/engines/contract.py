"""What every engine can do. The scenarios, the repository and the evidence know engines only through this."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import Manifest, StoredObject
from backup_playbook.core.proof import Proof
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
        """For messages: what and where it is."""
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


class Engine(Protocol):
    """What is known of a backup without its source."""

    name: str

    def check_content(self, manifest: Manifest, item: StoredObject, content: Blocks) -> None:
        """Read the content of an object to its end and compare it with the manifest. Raises VerificationError."""
        ...

    def check_manifest(self, manifest: Manifest) -> list[str]:
        """What the manifest lacks to be a complete backup of this engine, in sentences; empty when nothing."""
        ...

    def restore_script(self, manifest: Manifest, repository_url: str) -> str:
        """A bash script that restores this backup with stock tools, from `repository_url` (s3://bucket/prefix)."""
        ...


@runtime_checkable
class SharesContent(Protocol):
    """An engine whose backups share content: it lies outside of the folders of their own objects."""

    def check_shared(
        self, reader: BackupReader, streams: int, cancellation: Cancellation, *, read: bool
    ) -> list[VerificationError]:
        """What of the shared content that the backup names is not as it says.

        read: compare contents; else what the object store knows of them.
        """
        ...
