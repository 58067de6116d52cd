"""The steps of a nightly backup."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowSkipException

from backup_playbook.core.errors import PlaybookError
from backup_playbook.core.progress import human_bytes
from backup_playbook.operators.base import HandoffOperator, SourceOperator, is_true
from backup_playbook.operators.handoffs import Taken

if TYPE_CHECKING:
    from backup_playbook.core.evidence import Verified
    from backup_playbook.core.model import Manifest
    from backup_playbook.repository.catalog import Catalog

VERIFIED_BACKUPS = AssetAlias("verified_backups")
"""The alias of one asset per source; each event's extra names the backup."""


class DumpCompressUpload(SourceOperator):
    """Stream one consistent moment of a source into its repository, and seal it with the manifest. Returns a `Taken`.

    :param hold: keep the result until someone releases it.
    :param reason: the note of a hold.
    """

    means: ClassVar[str] = "there is no new backup"
    carries = True
    template_fields: Sequence[str] = ("source", "hold", "reason")

    def __init__(self, *, hold: bool | str = False, reason: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.hold = hold
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        """Take the backup."""
        from backup_playbook.core.naming import new_backup_id
        from backup_playbook.engines.backup import take_backup
        from backup_playbook.repository.objects import BackupWriter

        started, access = time.monotonic(), self.access
        catalog, source = access.catalog(), access.source()
        with access.codec(self.cancellation) as codec:
            writer = BackupWriter(catalog.store, self.source, new_backup_id(datetime.now(UTC)), codec)
            manifest = take_backup(source, access.engine, writer, self.cancellation)
        if is_true(self.hold):
            hold_backup(catalog, manifest, self.reason, context)
        return Taken(
            source=self.source,
            backup_id=manifest.backup_id,
            seal=manifest.seal,
            tables=len(manifest.tables),
            rows=manifest.rows,
            content_bytes=manifest.content_bytes,
            stored_bytes=manifest.stored_bytes,
            encryption=manifest.encryption.method,
            seconds=round(time.monotonic() - started, 1),
            summary=f"{access.engine.summary(manifest)}; {human_bytes(manifest.content_bytes)} stored as "
            f"{human_bytes(manifest.stored_bytes)}",
        ).as_json()


def hold_backup(catalog: Catalog, manifest: Manifest, reason: str, context: Context) -> None:
    """Let retention keep a backup until someone releases it."""
    from backup_playbook.core.evidence import Held

    catalog.add_evidence(manifest.source, manifest.backup_id, Held(reason=reason, run_id=context["run_id"]))


class VerifyBackup(HandoffOperator[Taken]):
    """Re-read a backup from its bucket, compare it with its manifest, and write evidence of what was found.

    :param offsite: verify the off-site copies instead.
    """

    model = Taken

    def __init__(self, *, offsite: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.offsite = offsite

    @property
    def means(self) -> str:
        """The meaning of its failure."""
        return "the off-site copy is not verified" if self.offsite else "the new backup is not verified"

    @property
    def only_offsite(self) -> bool:
        """Whether it is for sources with off-site repositories."""
        return self.offsite

    def execute(self, context: Context) -> dict[str, Any]:
        """Verify the backup; return the hand-off with how closely it was looked at."""
        from backup_playbook.connections.repositories import Repositories

        taken, settings = self.handoff, self.access.settings
        names = settings.offsite if self.offsite else [settings.repository]
        found = Repositories(self.config, client=None).every(names, self._verify)
        verified = {**taken.verified, **{name: str(evidence.depth) for name, evidence in found.items()}}
        if self.offsite:
            return taken.adding(verified=verified)
        asset = Asset(name=f"backup_{self.source}", uri=f"backup://{settings.repository}/{self.source}")
        extra = {"backup_id": taken.backup_id, **found[settings.repository].body()}
        context["outlet_events"][VERIFIED_BACKUPS].add(asset, extra=extra)
        return taken.adding(verified=verified, lost=self._lost())

    def _lost(self) -> str:
        """Say what has fewer rows. That it cannot be told does not make the backup a worse one."""
        from backup_playbook.core.losses import losses_in_words
        from backup_playbook.engines.health import lost_since

        try:
            catalog = self.access.catalog()
            manifest = catalog.manifest(self.source, self.handoff.backup_id)
            return losses_in_words(lost_since(catalog, manifest, datetime.now(UTC)))
        except PlaybookError as error:
            self.log.warning("What the backup before this one had cannot be told: %s", error)
            return ""

    def _verify(self, catalog: Catalog) -> Verified:
        from backup_playbook.engines.backup import Depth, Verification

        access, taken = self.access, self.handoff
        with access.codec(self.cancellation, decrypt=True) as codec:
            depth = Depth(access.settings.verification)
            if depth is Depth.FULL and not codec.can_decode:
                depth = Depth.STORED
                self.log.warning(
                    "This worker has no private key: the stored bytes are verified, their content is proven by the "
                    "restore test."
                )
            verification = Verification(catalog, access.engine, codec, depth, access.settings.streams)
            return verification.run(self.source, taken.backup_id, self.cancellation, taken.seal)


class CopyOffsite(HandoffOperator[Taken]):
    """Copy a verified backup into each off-site repository of its source."""

    means: ClassVar[str] = "there is no off-site copy"
    only_offsite: ClassVar[bool] = True
    model = Taken

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - passed by name
        """Copy the backup; return the hand-off as it is."""
        from backup_playbook.connections.repositories import Repositories

        settings = self.access.settings
        if not settings.offsite:
            raise AirflowSkipException(f"{self.source} has no off-site repository in sources.yaml.")
        origin = self.access.catalog()

        def copy(target: Catalog) -> None:
            self._copy(origin, target)
            self._share_verdicts(origin, target)

        Repositories(self.config, client=None).every(settings.offsite, copy)
        return self.handoff.as_json()

    def _share_verdicts(self, one: Catalog, other: Catalog) -> None:
        """Copy what restores have shown while one of the two was unreachable.

        It is no part of this backup: it fails nothing.
        """
        from backup_playbook.repository.offsite import share_verdicts

        try:
            shared = share_verdicts(one, other, self.source) + share_verdicts(other, one, self.source)
        except PlaybookError as error:
            self.log.warning("%s and %s may not know of the same proofs: %s", one.store.url, other.store.url, error)
        else:
            self.log.info("%d pieces of evidence of earlier restores were copied.", shared)

    def _copy(self, origin: Catalog, target: Catalog) -> None:
        from backup_playbook.core.evidence import Copied, Held
        from backup_playbook.engines.backup import require_verified

        backup_id, primary, offsite = self.handoff.backup_id, origin.store.name, target.store.name
        entry = require_verified(origin, self.source, backup_id)
        manifest = origin.manifest(self.source, backup_id)
        copied = self.access.copy(origin, target, manifest, self.cancellation)
        if entry.held:
            target.add_evidence(self.source, backup_id, Held(reason=f"held in {primary}", run_id=None))
        origin.add_evidence(self.source, backup_id, Copied(to=target.store.url, new=copied), qualifier=offsite)
        self.log.info("%s %s is in %s%s.", self.source, backup_id, target.store.url, "" if copied else " already")
