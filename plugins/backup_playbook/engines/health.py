"""Facts for `core.health`: a listing for each repository of a source, and a few dozen small documents."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.evidence import Accepted, Rejected, Unequal, Verified
from backup_playbook.core.facts import SIZES_CONSIDERED, Expected, Inequality, Rejection, SourceFacts, Unreadable
from backup_playbook.core.losses import HISTORY, Counts, Loss, counts_of, losses
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.recovery_points import is_sound
from backup_playbook.engines.survey import OpenCatalog, Survey, survey
from backup_playbook.repository.catalog import Catalog, CatalogEntry

log = logging.getLogger(__name__)


def gather_facts(
    source: str,
    expected: Expected,
    repositories: Sequence[str],
    open_catalog: OpenCatalog,
    now: datetime,
    scrub_troubles: Sequence[Unreadable] | None = (),
) -> SourceFacts:
    """Collect everything that the health of a source is judged by.

    repositories: the primary one first. scrub_troubles: None when the scrub did not come to its end.
    """
    seen = survey(source, repositories, open_catalog)
    objects = [trouble for trouble in scrub_troubles or () if trouble.backup_id]
    for trouble in scrub_troubles or ():
        if not trouble.backup_id:
            seen.unreadable.setdefault(trouble.repository, trouble)
    primary = repositories[0]
    sound = [entry for entry in seen.listed.get(primary, ()) if is_sound(entry, now)]
    newest = seen.manifest(primary, sound[0].backup_id) if sound else None
    earlier = next((entry for entry in sound if entry.taken_at.date() < sound[0].taken_at.date()), None)
    previous = seen.manifest(primary, earlier.backup_id) if earlier else None
    history = []
    if newest and previous and losses(counts_of(newest), [counts_of(previous)]):
        before = [entry for entry in sound if entry.backup_id < previous.backup_id][: HISTORY - 1]
        history = [counts_of(found) for entry in before if (found := seen.manifest(primary, entry.backup_id))]
    copies = _seals_of_copies(seen, newest, repositories[1:]) if newest else {}
    sizes = _sizes(seen, primary, sound[1:])
    _add_rejected(seen)
    inequalities = _inequalities(seen)
    return SourceFacts(
        source=source,
        expected=expected,
        primary=primary,
        listed=seen.listed,
        unreadable=(*seen.unreadable.values(), *objects),
        rejections=tuple(seen.rejections),
        inequalities=inequalities,
        newest=newest,
        previous=previous,
        history=history,
        copies=copies,
        sizes=sizes,
        scrubbed=scrub_troubles is not None,
    )


def lost_since(catalog: Catalog, newest: Manifest, now: datetime) -> list[Loss]:
    """List the losses of a backup against the sound one before it. Raises PlaybookError."""

    def older() -> Iterator[Counts]:
        for entry in catalog.backups(newest.source):
            if entry.backup_id < newest.backup_id and is_sound(entry, now):
                try:
                    manifest = catalog.manifest(entry.source, entry.backup_id)
                except VerificationError as error:
                    log.warning("Losses are told without %s: %s", entry.backup_id, error.what)
                else:
                    yield counts_of(manifest)

    return losses(counts_of(newest), older())


def accept_unequal(catalogs: Iterable[Catalog], source: str, backup_id: str, answer: Accepted) -> bool:
    """Record that a person answers for a backup whose copy was unequal. Returns whether there was such a finding."""
    found = [catalog for catalog in catalogs if catalog.entry(source, backup_id).unequal]
    for catalog in found:
        catalog.add_evidence(source, backup_id, answer)
    return bool(found)


def _seals_of_copies(seen: Survey, newest: Manifest, offsite: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in offsite:
        copy = next((entry for entry in seen.listed.get(name, ()) if entry.backup_id == newest.backup_id), None)
        if copy and not copy.rejected and (manifest := seen.manifest(name, copy.backup_id)):
            found[name] = manifest.origin_seal
    return found


def _sizes(seen: Survey, primary: str, sound: Sequence[CatalogEntry]) -> tuple[int, ...]:
    """Read sizes from the evidence of verifications: manifests name every table, and are much larger."""
    wanted = [(entry, entry.verified) for entry in sound[:SIZES_CONSIDERED] if entry.verified]
    read = seen.evidence(primary, wanted, Verified) if wanted else []
    return tuple(one.stored_bytes for one in read if one and one.stored_bytes is not None)


def _inequalities(seen: Survey) -> tuple[Inequality, ...]:
    """Collect each finding once, however many repositories know of it."""
    found: dict[str, Inequality] = {}
    for repository, entries in seen.listed.items():
        open_ = [entry for entry in entries if entry.unequal and entry.backup_id not in found]
        wanted = [(entry, max(entry.findings(EvidenceKind.UNEQUAL))) for entry in open_]
        read = seen.evidence(repository, wanted, Unequal) if wanted else []
        for (entry, _), one in zip(wanted, read, strict=False):
            found[entry.backup_id] = Inequality(entry.backup_id, one.what if one else "its evidence cannot be read.")
    return tuple(found.values())


def _add_rejected(seen: Survey) -> None:
    for repository, entries in seen.listed.items():
        wanted = [(entry, found[-1]) for entry in entries if (found := entry.open_findings(EvidenceKind.REJECTED))]
        read = seen.evidence(repository, wanted, Rejected) if wanted else []
        for (entry, _), one in zip(wanted, read, strict=False):
            what = one.what if one else "its rejection cannot be read."
            seen.rejections.append(Rejection(repository, entry.backup_id, what))
