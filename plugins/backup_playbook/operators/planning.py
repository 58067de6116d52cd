"""The plans of restores and recoveries: what is known before anything is touched, for the person who approves it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import Context

from backup_playbook.core.errors import PlaybookError, RestoreError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.recovery_plan import Candidate, RecoveryPlan
from backup_playbook.core.recovery_points import is_sound, restore_rate
from backup_playbook.core.restore_plan import RestorePlan
from backup_playbook.forms.dag_names import RELEASE, ROLLBACK
from backup_playbook.operators.base import run_of
from backup_playbook.operators.checks import rows_by_table
from backup_playbook.operators.handoffs import Replacing, Restoring
from backup_playbook.operators.restore import is_active

if TYPE_CHECKING:
    from backup_playbook.connections.base import Access
    from backup_playbook.core.model import Manifest
    from backup_playbook.engines.contract import Room, Scope, ScratchHost
    from backup_playbook.engines.survey import Survey
    from backup_playbook.repository.catalog import CatalogEntry

CANDIDATES = 7
CHECKS = (
    EvidenceKind.VERIFIED, EvidenceKind.REJECTED, EvidenceKind.RESTORED, EvidenceKind.UNEQUAL, EvidenceKind.ACCEPTED,
)  # fmt: skip
"""The kinds of evidence that say whether a backup is intact; the daily scrub writes the first two as well."""
CHECKS_SHOWN = 3
UNVERIFIED = "UNVERIFIED: nobody has checked it"
UNKNOWN = "what is known of it cannot be told, for its repository does not answer"
NO_MAINTENANCE = "There is no maintenance mode: what is written until the exchange stays in the quarantine."


@dataclass(frozen=True)
class Choice:
    """The choice among backups that an approval leaves. unverified: also those that nobody has checked."""

    among: bool
    unverified: bool


def refuse_a_second_recovery(host: ScratchHost, source: str, context: Context) -> None:
    """Raise RestoreError while another run has a copy of `source` beside production."""
    ours = f"{run_of(context)}|"
    for scratch in host.list_scratches():
        if scratch.source == source and not scratch.owner.startswith(ours) and is_active(context, scratch.owner):
            dag_id, run_id, *_ = scratch.owner.split("|")
            raise RestoreError(
                f"{source} is being recovered already, by the run {run_id} of {dag_id}.",
                "Wait for it to end, or mark it as failed; then clear this task.",
            )


def recovery_plan(
    access: Access,
    known: Restoring,
    replacing: Replacing,
    manifest: Manifest,
    remarks: Iterable[str],
    choice: Choice,
) -> RecoveryPlan:
    """Put together the plan of a recovery. remarks: of `LiveDatabase.inspect`."""
    live, when = access.live(), datetime.now(UTC)
    now, uncounted = _rows_now(access)
    seen, entries, rate = look_up(access, known.repository)
    shown = [one for one in entries if one.backup_id != manifest.backup_id][:CANDIDATES]
    fit: list[CatalogEntry] = []
    if choice.among:
        fit = [one for one in entries if is_sound(one, when) or (choice.unverified and not one.rejected)][:CANDIDATES]
        shown = [one for one in entries if one in fit or (fit and one.backup_id > fit[-1].backup_id)]
    maintenance = access.settings.recovery.maintenance
    return RecoveryPlan(
        source=access.name,
        words=access.engine.words,
        exchange=live.words,
        live=replacing.live,
        quarantine=replacing.quarantine,
        backup_id=manifest.backup_id,
        repository=known.repository,
        taken_at=manifest.snapshot_at,
        known=known_of(entries, manifest.backup_id),
        content_bytes=manifest.content_bytes,
        then=rows_by_table(manifest),
        now=now,
        uncounted=uncounted,
        estimate=timedelta(seconds=manifest.content_bytes / rate) if rate else None,
        rto=access.config.objectives_of(access.name).rto,
        maintenance="The application is in maintenance mode meanwhile." if maintenance else NO_MAINTENANCE,
        undo_dag=ROLLBACK,
        release_dag=RELEASE,
        remarks=[remark for remark in (known.remark, *remarks) if remark],
        candidates=[
            _candidate(one, seen.manifest(known.repository, one.backup_id), offered=one in fit) for one in shown
        ],
        choose=choice.among,
    )


def restore_plan(access: Access, known: Restoring, manifest: Manifest, scope: Scope, room: Room) -> RestorePlan:
    """Put together the plan of a restore beside production."""
    _, entries, rate = look_up(access, known.repository)
    return RestorePlan(
        words=access.engine.words,
        backup_id=manifest.backup_id,
        repository=known.repository,
        taken_at=manifest.snapshot_at,
        known=known_of(entries, manifest.backup_id),
        database=known.kept,
        server=f"{room.label} ({known.target})",
        only=scope.only,
        tables=len(scope.tables),
        rows=scope.rows,
        content_bytes=scope.content_bytes,
        left_out=scope.left_out,
        free=room.free,
        estimate=timedelta(seconds=scope.content_bytes / rate) if rate else None,
        rto=access.config.objectives_of(access.name).rto,
        undo=access.database_engine.undo_kept(known.kept),
        remark=known.remark,
    )


def look_up(access: Access, repository: str) -> tuple[Survey, list[CatalogEntry], float | None]:
    """Look into a repository: its backups of the source, newest first; content bytes restored and proven a second."""
    from backup_playbook.engines.survey import newest_restores, survey

    seen = survey(access.name, [repository], access.catalog)
    entries = [entry for entry in seen.listed.get(repository, []) if entry.sealed]
    return seen, entries, restore_rate(newest_restores(seen))


def known_of(entries: Iterable[CatalogEntry], backup_id: str) -> str:
    """Say in words whether a backup is proven, verified, or not."""
    return next((_known(entry) for entry in entries if entry.backup_id == backup_id), UNKNOWN)


def _candidate(entry: CatalogEntry, manifest: Manifest | None, *, offered: bool) -> Candidate:
    checks = [one for one in sorted(entry.evidence, reverse=True) if one.kind in CHECKS]
    evidence = ", ".join(f"{one.kind} {one.at:%m-%d %H:%M} ({one.qualifier})" for one in checks[:CHECKS_SHOWN])
    if manifest is None:
        return Candidate(entry.backup_id, entry.taken_at, "REJECTED: its manifest cannot be read", {}, evidence)
    option = f"Restore {entry.backup_id}" if offered else ""
    return Candidate(
        entry.backup_id,
        manifest.snapshot_at,
        _known(entry),
        rows_by_table(manifest),
        evidence,
        option,
        manifest.seal,
        manifest.origin_seal,
    )


def _rows_now(access: Access) -> tuple[dict[str, int], str]:
    """Count production, or say why it cannot be counted: it may be what is broken."""
    try:
        return dict(access.count()), ""
    except PlaybookError as error:
        return {}, error.what


def _known(entry: CatalogEntry) -> str:
    if entry.rejected:
        return "DAMAGED: its last verification rejected it"
    if entry.unequal:
        return "A COPY WAS NOT EQUAL: a restore of it did not give what was backed up"
    if entry.proven:
        return f"proven by a restore on {entry.proven.at:%Y-%m-%d}"
    return f"verified on {entry.verified.at:%Y-%m-%d}, not yet restored" if entry.verified else UNVERIFIED
