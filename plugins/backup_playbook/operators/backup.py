"""The steps of a nightly backup. What one returns is what the next takes, and what the announcement tells.

Everything that needs boto3, psycopg or a provider is imported when a task runs: DAG files are parsed all the time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from airflow.sdk import Asset, AssetAlias, Context, XComArg
from airflow.sdk.exceptions import AirflowSkipException

from backup_playbook.core.errors import PlaybookError
from backup_playbook.operators.base import PlaybookOperator, SourceOperator, is_true

if TYPE_CHECKING:
    from backup_playbook.core.model import Manifest
    from backup_playbook.repository.catalog import Catalog

VERIFIED_BACKUPS = AssetAlias("verified_backups")
"""Stands for one asset per source; each event's extra names the backup."""


class TakenBackup(TypedDict):
    """What goes from step to step. Sizes in bytes, `seconds` of the dump, `verified`: depth by repository.

    summary: what is in it, as its engine counts. warned: it says what a person should look at.
    lost: what has fewer rows, or files, than in the backup before.
    """

    source: str
    backup_id: str
    seal: str
    tables: int
    rows: int
    content_bytes: int
    stored_bytes: int
    encryption: str
    seconds: float
    verified: dict[str, str]
    summary: str
    lost: NotRequired[str]
    warned: NotRequired[bool]


class DumpCompressUpload(SourceOperator):
    """Stream one consistent moment of a source into its repository, and seal it with the manifest.

    hold: keep the result until someone releases it, with `reason` as the note. Returns a `TakenBackup`.
    """

    template_fields: Sequence[str] = ("source", "hold", "reason")

    def __init__(self, *, source: str, hold: bool | str = False, reason: str = "", **arguments: Any) -> None:
        super().__init__(source=source, **arguments)
        self.hold = hold
        self.reason = reason

    def execute(self, context: Context) -> TakenBackup:
        from backup_playbook.core.naming import new_backup_id
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.backup import take_backup
        from backup_playbook.repository.objects import BackupWriter

        started = time.monotonic()
        catalog = connections.catalog(self.config, self.config.source(self.source).repository)
        source = connections.live_source(self.config, self.source)
        engine = connections.engine(self.config, self.source)
        with connections.codec(self.config, self.source, self.cancellation) as codec:
            writer = BackupWriter(catalog.store, self.source, new_backup_id(datetime.now(UTC)), codec)
            manifest = take_backup(source, engine, writer, self.cancellation)
        if is_true(self.hold):
            hold_backup(catalog, manifest, self.reason, context)
        return taken_backup(
            manifest,
            time.monotonic() - started,
            tables=len(manifest.tables),
            rows=manifest.rows,
            content_bytes=manifest.content_bytes,
            summary=connections.summary(engine, manifest),
        )


def hold_backup(catalog: Catalog, manifest: Manifest, reason: str, context: Context) -> None:
    """Retention keeps it until someone releases it."""
    from backup_playbook.core.model import EvidenceKind

    note = {"reason": reason, "run_id": context["run_id"]}
    catalog.add_evidence(manifest.source, manifest.backup_id, EvidenceKind.HELD, note)


def taken_backup(
    manifest: Manifest, seconds: float, *, tables: int, rows: int, content_bytes: int, summary: str
) -> TakenBackup:
    """What the steps after it are told of a sealed backup."""
    return TakenBackup(
        source=manifest.source,
        backup_id=manifest.backup_id,
        seal=manifest.seal,
        tables=tables,
        rows=rows,
        content_bytes=content_bytes,
        stored_bytes=manifest.stored_bytes,
        encryption=manifest.encryption.method,
        seconds=round(seconds, 1),
        verified={},
        summary=summary,
    )


class BackupOperator(PlaybookOperator):
    """A step on the backup that an earlier step returned. Returns it with what this step adds."""

    template_fields: Sequence[str] = ("backup",)

    def __init__(self, *, backup: TakenBackup | XComArg, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.backup = backup

    @property
    def source(self) -> str:  # type: ignore[override]
        return self.taken["source"]

    @property
    def taken(self) -> TakenBackup:
        """The backup; an XComArg until the fields of a running task are rendered."""
        return cast("TakenBackup", self.backup)


class VerifyBackup(BackupOperator):
    """Re-read a backup from its bucket, compare it with its manifest, and write evidence of what was found.

    offsite: verify the off-site copies instead.
    """

    def __init__(self, *, offsite: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.offsite = offsite

    def execute(self, context: Context) -> TakenBackup:
        from backup_playbook.dag_parts.repositories import Repositories

        settings = self.config.source(self.source)
        names = settings.offsite if self.offsite else [settings.repository]
        found = Repositories(self.config, client=None).every(names, self._verify)
        if not self.offsite:
            asset = Asset(name=f"backup_{self.source}", uri=f"backup://{settings.repository}/{self.source}")
            extra = {"backup_id": self.taken["backup_id"], **found[settings.repository]}
            context["outlet_events"][VERIFIED_BACKUPS].add(asset, extra=extra)
        depths = {name: evidence["depth"] for name, evidence in found.items()}
        done: TakenBackup = {**self.taken, "verified": {**self.taken["verified"], **depths}}
        return done if self.offsite else {**done, "lost": self._lost(settings.repository)}

    def _lost(self, repository: str) -> str:
        """In words; empty for nothing. That it cannot be told does not make the backup a worse one."""
        from backup_playbook.core.errors import PlaybookError
        from backup_playbook.core.losses import told
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.health import lost_since

        try:
            catalog = connections.catalog(self.config, repository)
            manifest = catalog.manifest(self.source, self.taken["backup_id"])
            return told(lost_since(catalog, manifest, datetime.now(UTC)))
        except PlaybookError as error:
            self.log.warning("What the backup before this one had cannot be told: %s", error)
            return ""

    def _verify(self, catalog: Catalog) -> dict[str, Any]:
        from backup_playbook.dag_parts import connections
        from backup_playbook.engines.backup import Depth, Verification

        settings = self.config.source(self.source)
        with connections.codec(self.config, self.source, self.cancellation, decrypt=True) as codec:
            depth = Depth(settings.verification)
            if depth is Depth.FULL and not codec.can_decode:
                depth = Depth.STORED
                self.log.warning(
                    "This worker has no private key: the stored bytes are verified, their content is proven by the "
                    "restore test."
                )
            engine = connections.engine(self.config, self.source)
            verification = Verification(catalog, engine, codec, depth, settings.streams)
            return verification.run(self.source, self.taken["backup_id"], self.cancellation, self.taken["seal"])


class CopyOffsite(BackupOperator):
    """Copy a verified backup into each off-site repository of its source."""

    def execute(self, context: Context) -> TakenBackup:  # noqa: ARG002 - passed by name
        from backup_playbook.dag_parts import connections
        from backup_playbook.dag_parts.repositories import Repositories

        settings = self.config.source(self.source)
        if not settings.offsite:
            raise AirflowSkipException(f"{self.source} has no off-site repository in sources.yaml.")
        origin = connections.catalog(self.config, settings.repository)

        def copy(target: Catalog) -> None:
            self._copy(origin, target)
            self._share_verdicts(origin, target)

        Repositories(self.config, client=None).every(settings.offsite, copy)
        return self.taken

    def _share_verdicts(self, one: Catalog, other: Catalog) -> None:
        """What restores have shown while one of the two was away. It is no part of this backup: it fails nothing."""
        from backup_playbook.repository.offsite import share_verdicts

        try:
            shared = share_verdicts(one, other, self.source) + share_verdicts(other, one, self.source)
        except PlaybookError as error:
            self.log.warning("%s and %s may not know of the same proofs: %s", one.store.url, other.store.url, error)
        else:
            self.log.info("%d pieces of evidence of earlier restores were copied.", shared)

    def _copy(self, origin: Catalog, target: Catalog) -> None:
        from backup_playbook.core.model import EvidenceKind
        from backup_playbook.engines.backup import require_verified

        backup_id, primary, offsite = self.taken["backup_id"], origin.store.name, target.store.name
        entry = require_verified(origin, self.source, backup_id)
        manifest = origin.manifest(self.source, backup_id)
        copied = self.send(origin, target, manifest)
        if entry.held:
            target.add_evidence(self.source, backup_id, EvidenceKind.HELD, {"reason": f"held in {primary}"})
        origin.add_evidence(
            self.source, backup_id, EvidenceKind.COPIED, {"to": target.store.url, "new": copied}, qualifier=offsite
        )
        self.log.info("%s %s is in %s%s.", self.source, backup_id, target.store.url, "" if copied else " already")

    def send(self, origin: Catalog, target: Catalog, manifest: Manifest) -> bool:
        """False when the copy existed already."""
        from backup_playbook.dag_parts import connections
        from backup_playbook.repository.offsite import copy_backup

        return copy_backup(
            origin,
            target,
            manifest,
            connections.engine(self.config, self.source).restore_script(manifest, target.store.url),
            same_endpoint=connections.same_endpoint(self.config, origin.store.name, target.store.name),
            streams=self.config.source(self.source).streams,
            cancellation=self.cancellation,
        )
