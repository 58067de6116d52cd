"""What is known before production is touched, put together for the person who approves it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from airflow.sdk import Context

from backup_playbook.config import MongoSource, PlaybookConfig
from backup_playbook.core.errors import PlaybookError, RestoreError, VerificationError
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.progress import human_bytes
from backup_playbook.core.recovery_plan import Candidate, RecoveryPlan
from backup_playbook.core.recovery_points import is_sound, restore_rate
from backup_playbook.core.words import ExchangeWords
from backup_playbook.dag_parts import connections
from backup_playbook.dag_parts.recovery import live_mongo, production_server, recovery_settings
from backup_playbook.engines.contract import ScratchHost
from backup_playbook.engines.mongodb.archive import left_out as left_out_of_mongo
from backup_playbook.engines.mongodb.live import MongoLive
from backup_playbook.engines.mongodb.preflight import inspect_live as inspect_collections
from backup_playbook.engines.postgres.excluded import recomputed_by
from backup_playbook.engines.postgres.live import PostgresLive
from backup_playbook.engines.postgres.partial import read_part
from backup_playbook.engines.postgres.recovery_preflight import inspect_live, require_restorable
from backup_playbook.engines.survey import Survey, newest_restores, survey
from backup_playbook.operators.assessment import rows_by_table
from backup_playbook.operators.restore import TestedBackup, is_active
from backup_playbook.repository.catalog import CatalogEntry
from backup_playbook.repository.objects import BackupReader

CANDIDATES = 7
UNDO_DAG = "rollback_promotion"
RELEASE_DAG = "release_quarantine"
CHECKS = (
    EvidenceKind.VERIFIED, EvidenceKind.REJECTED, EvidenceKind.RESTORED, EvidenceKind.UNEQUAL, EvidenceKind.ACCEPTED,
)  # fmt: skip
"""The kinds of evidence that say whether a backup is intact; the daily scrub writes the first two as well."""
CHECKS_SHOWN = 3


def refuse_a_second_recovery(host: ScratchHost, source: str, context: Context) -> None:
    """Raises RestoreError while another run has a copy of `source` beside production."""
    ours = f"{context['ti'].dag_id}|{context['run_id']}|"
    for scratch in host.list_scratches():
        if scratch.source == source and not scratch.owner.startswith(ours) and is_active(context, scratch.owner):
            dag_id, run_id, *_ = scratch.owner.split("|")
            raise RestoreError(
                f"{source} is being recovered already, by the run {run_id} of {dag_id}.",
                "Wait for it to end, or mark it as failed; then clear this task.",
            )


def draw_up_plan(
    config: PlaybookConfig,
    chosen: TestedBackup,
    manifest: Manifest,
    live: str,
    quarantine: str,
    remarks: Sequence[str],
    *,
    choose: bool = False,
    unverified: bool = False,
) -> RecoveryPlan:
    """choose: a person takes one of the newest backups; unverified: also of those that nobody has checked.

    remarks: of `look_at_live`.
    """
    source, repository = chosen["source"], chosen["repository"]
    now, uncounted = _rows_now(config, source)
    seen, entries, rate = look_up(config, source, repository)
    shown = [one for one in entries if one.backup_id != manifest.backup_id][:CANDIDATES]
    if choose:
        when = datetime.now(UTC)
        fit = [one for one in entries if is_sound(one, when) or (unverified and not one.rejected)][:CANDIDATES]
        shown = [one for one in entries if one in fit or (fit and one.backup_id > fit[-1].backup_id)]
    maintenance = recovery_settings(config, source).maintenance
    return RecoveryPlan(
        source=source,
        words=connections.engine(config, source).words,
        exchange=exchange_words(config, source),
        live=live,
        quarantine=quarantine,
        backup_id=manifest.backup_id,
        repository=repository,
        taken_at=manifest.snapshot_at,
        known=known_of(entries, manifest.backup_id),
        content_bytes=manifest.content_bytes,
        then=rows_by_table(manifest),
        now=now,
        uncounted=uncounted,
        estimate=timedelta(seconds=manifest.content_bytes / rate) if rate else None,
        rto=config.objectives_of(source).rto,
        maintenance="The application is in maintenance mode meanwhile." if maintenance else NO_MAINTENANCE,
        undo_dag=UNDO_DAG,
        release_dag=RELEASE_DAG,
        remarks=remarks,
        candidates=[
            _candidate(one, seen.manifest(repository, one.backup_id), offered=choose and one in fit) for one in shown
        ],
        choose=choose,
    )


def exchange_words(config: PlaybookConfig, source: str) -> ExchangeWords:
    """Words of the source's engine for an exchange of production."""
    return (MongoLive if isinstance(config.source(source), MongoSource) else PostgresLive).words


def _candidate(entry: CatalogEntry, manifest: Manifest | None, *, offered: bool) -> Candidate:
    checks = [one for one in sorted(entry.evidence, reverse=True) if one.kind in CHECKS]
    evidence = ", ".join(f"{one.kind} {one.at:%m-%d %H:%M} ({one.qualifier})" for one in checks[:CHECKS_SHOWN])
    if manifest is None:
        return Candidate(entry.backup_id, entry.taken_at, "REJECTED: its manifest cannot be read", {}, evidence)
    option = f"Restore {entry.backup_id}" if offered else ""
    return Candidate(
        entry.backup_id, manifest.snapshot_at, _known(entry), rows_by_table(manifest), evidence, option, manifest.seal
    )


def look_up(config: PlaybookConfig, source: str, repository: str) -> tuple[Survey, list[CatalogEntry], float | None]:
    """What is in a repository; its backups of the source, newest first; content bytes restored and proven a second."""
    seen = survey(source, [repository], lambda name: connections.catalog(config, name))
    entries = [entry for entry in seen.listed.get(repository, []) if entry.sealed]
    return seen, entries, restore_rate(newest_restores(seen))


def known_of(entries: Iterable[CatalogEntry], backup_id: str) -> str:
    """In words: proven, verified, or not."""
    return next(_known(entry) for entry in entries if entry.backup_id == backup_id)


NO_MAINTENANCE = "There is no maintenance mode: what is written until the exchange stays in the quarantine."


def _rows_now(config: PlaybookConfig, source: str) -> tuple[dict[str, int], str]:
    """Or why they cannot be counted: production may be what is broken."""
    try:
        return connections.rows_now(config, source), ""
    except PlaybookError as error:
        return {}, error.what
    except psycopg.Error as error:
        return {}, str(error)


UNVERIFIED = "UNVERIFIED: nobody has checked it"


def _known(entry: CatalogEntry) -> str:
    if entry.rejected:
        return "DAMAGED: its last verification rejected it"
    if entry.unequal:
        return "A COPY WAS NOT EQUAL: a restore of it did not give what was backed up"
    if entry.proven:
        return f"proven by a restore on {entry.proven.at:%Y-%m-%d}"
    return f"verified on {entry.verified.at:%Y-%m-%d}, not yet restored" if entry.verified else UNVERIFIED


def look_at_live(
    config: PlaybookConfig, reader: BackupReader, live: str, quarantine: str, leave_out: Sequence[str] = ()
) -> tuple[int, tuple[str, ...]]:
    """The oid of the live database (of MongoDB: 0), and remarks for the plan. Raises RestoreError.

    leave_out: see `postgres.partial.read_part`.
    """
    manifest, source = reader.manifest, reader.manifest.source
    if isinstance(config.source(source), MongoSource):
        free = inspect_collections(live_mongo(config, source), manifest, quarantine)
        stays = tuple(f"{name} is not in backups, and stays as it is." for name in manifest.details.get("left_out", ()))
        return 0, (
            _space(free, manifest.content_bytes),
            *_no_copy_has(left_out_of_mongo(manifest)),
            *stays,
            EXPIRES,
            STREAMS,
        )
    server = production_server(config, source)
    found = inspect_live(server, live, manifest.content_bytes)
    try:
        part = read_part(reader, leave_out=leave_out)
    except VerificationError as error:  # another one may be chosen
        lacks = [f"Its definitions cannot be read: {error.what}"]
    else:
        require_restorable(server, manifest, part.definitions(owners=True))
        lacks = _no_copy_has(part.left_out)
    anew = _computed_anew(recomputed_by(manifest))
    return found.oid, (*found.remarks, _space(found.free, found.bytes), *lacks, *anew)


EXPIRES = "Nothing expires in the quarantine; after rollback_promotion it does again."
STREAMS = "Change streams on the collections end when these are renamed."


def _space(free: int | None, needed: int) -> str:
    if free is None:
        return f"Free disk space could not be found out; the copy needs about {human_bytes(needed)}."
    return f"The server has {human_bytes(free)} free; the copy needs about {human_bytes(needed)}."


def _no_copy_has(what: Sequence[str]) -> list[str]:
    return [f"No copy has these: {', '.join(what)}."] if what else []


def _computed_anew(what: Sequence[str]) -> list[str]:
    return [f"Computed anew in the copy, and not compared: {', '.join(what)}."] if what else []
