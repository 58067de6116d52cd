"""Catalog of a repository: its backups, and the evidence on them, from one listing and no GET per backup."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from math import ceil
from typing import Any, NamedTuple

from backup_playbook.core.errors import RepositoryError, VerificationError
from backup_playbook.core.evidence import Evidence
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.naming import backup_time, evidence_stamp, is_backup_id
from backup_playbook.repository.layout import (
    CATALOG,
    MANIFEST,
    RESTORE_SCRIPT,
    EvidenceName,
    catalog_folder,
    digest_of,
    manifest_key,
    split_key,
)
from backup_playbook.repository.store import LISTED_PER_PAGE, Listed, ObjectStore

CLOCKS_APART = timedelta(days=1)
"""Largest difference between a worker's clock and the store's: some stores tell local time for UTC."""
LISTINGS_AT_ONCE = 8
PAGE_FILLED = 0.9
"""The share of a page that a range is made for: a full page has a second request behind it."""


_ANSWERED: Mapping[EvidenceKind, EvidenceKind] = {
    EvidenceKind.VERIFIED: EvidenceKind.REJECTED,
    EvidenceKind.RESTORED: EvidenceKind.UNEQUAL,
    EvidenceKind.ACCEPTED: EvidenceKind.UNEQUAL,
    EvidenceKind.RELEASED: EvidenceKind.HELD,
}
"""Kinds of findings, by the kind that answers them. A finding holds until an answer names it, whatever the clocks of
those who wrote the two say. The time at which the store took them does not decide: every copy of the catalog has
another one."""
_DEPTHS = ("checksums", "stored")
"""Qualifiers of readings that looked less closely than a full read. A restore reads all, too, and a repair compares
every byte with that of a verified copy."""


@dataclass
class CatalogEntry:
    """A backup as the listing shows it.

    `sealed` is false for a failed run, and for a removal that was cut short.
    Two findings are kept apart. `rejected`: the stored bytes here differ from the manifest, until they are read again.
    `unequal`: a restored copy differs from the backup, wherever it was read, until there is a proof or a person's word.
    """

    source: str
    backup_id: str
    sealed: bool = False
    sealed_at: datetime | None = None
    """Time at which the store took the manifest, by its own clock."""
    evidence: list[EvidenceName] = field(default_factory=list)

    @property
    def taken_at(self) -> datetime:
        """Start of the backup, by the clock of its worker."""
        return backup_time(self.backup_id)

    def latest(self, *kinds: EvidenceKind) -> EvidenceName | None:
        """Newest evidence of these kinds, answered or not."""
        return max((item for item in self.evidence if item.kind in kinds), default=None)

    @property
    def verified(self) -> EvidenceName | None:
        """Newest verification, unless the backup is rejected."""
        return None if self.rejected else self.latest(EvidenceKind.VERIFIED)

    @property
    def rejected(self) -> bool:
        """Whether the stored bytes differ from the manifest."""
        return self._holds(EvidenceKind.REJECTED)

    @property
    def unequal(self) -> bool:
        """Whether a restored copy differed from the backup."""
        return self._holds(EvidenceKind.UNEQUAL)

    def last_read(self, now: datetime) -> datetime:
        """Time of the last verification or rejection; without any, that of the backup.

        Evidence with a time in the future tells nothing but that a clock was wrong.
        """
        read = (EvidenceKind.VERIFIED, EvidenceKind.REJECTED)
        return max((one.at for one in self.evidence if one.kind in read and one.at <= now), default=self.taken_at)

    def misdated(self, now: datetime) -> bool:
        """Whether its date is in the future, or was when the store took its manifest: the worker's clock was wrong.

        Nothing that goes by the date of such a backup holds. A clock that was behind is not known by this: the manifest
        of a copy, and a repaired one, are younger than their date as well. Stores that check when a request was signed
        refuse a clock that is a quarter of an hour off.
        """
        ahead = self.sealed_at is not None and self.sealed_at < self.taken_at - CLOCKS_APART
        return ahead or self.taken_at > now

    @property
    def proven(self) -> EvidenceName | None:
        """Newest restore that was proven equal, unless another one was not."""
        return None if self.unequal else self.latest(EvidenceKind.RESTORED)

    @property
    def held(self) -> bool:
        """Whether it is held: retention keeps it."""
        return self._holds(EvidenceKind.HELD)

    def findings(self, kind: EvidenceKind) -> list[EvidenceName]:
        """All evidence of a kind that others answer, answered or not.

        Before there was UNEQUAL, a restore wrote REJECTED both for damaged bytes and for unequal copies, and nothing
        tells which: it counts as both.
        """
        both = (EvidenceKind.REJECTED, "restore", "") if kind is EvidenceKind.UNEQUAL else None
        return [one for one in self.evidence if one.kind is kind or (one.kind, one.qualifier, one.seen) == both]

    def _holds(self, kind: EvidenceKind) -> bool:
        return bool(self.open_findings(kind))

    def open_findings(self, kind: EvidenceKind) -> list[EvidenceName]:
        """Findings that no answer names, the newest last.

        When neither a finding nor an answer says what it had seen, the later one wins.
        """
        findings = sorted(self.findings(kind))
        answered: set[EvidenceName] = set()
        for one in self.evidence:
            if _ANSWERED.get(one.kind) is not kind:
                continue
            within = reached(one.kind, one.qualifier, findings)
            if one.seen:
                # it named all there was within its reach; what was found later than that is not answered by it
                seen = (within[:count] for count in range(len(within), 0, -1))
                answered.update(next((named for named in seen if digest_of(named) == one.seen), ()))
            else:
                answered.update(finding for finding in within if not finding.seen and finding.at < one.at)
        return [one for one in findings if one not in answered]

    @property
    def tier(self) -> str:
        """Retention tier that keeps it; empty until there is one."""
        newest = self.latest(EvidenceKind.TIERED)
        return newest.qualifier if newest else ""


def reached(kind: EvidenceKind, qualifier: str, findings: Iterable[EvidenceName]) -> list[EvidenceName]:
    """Findings that an answer can end: a reading ends none that looked closer than itself."""
    if kind is not EvidenceKind.VERIFIED:
        return list(findings)
    return [one for one in findings if _depth(one.qualifier) <= _depth(qualifier)]


def _depth(qualifier: str) -> int:
    return _DEPTHS.index(qualifier) if qualifier in _DEPTHS else len(_DEPTHS)


class Catalog:
    """All backups of one repository."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def sources(self) -> list[str]:
        """Names of the sources that have backups here."""
        return list(self.store.folders(CATALOG))

    def entries(self, source: str | None = None) -> list[CatalogEntry]:
        """Everything in the catalog of one source, or of all, newest first; also backups without a manifest."""
        sources = [source] if source else self.sources()
        parts = [_Range(catalog_folder(one)) for one in sources]
        found: list[list[Listed]] = []
        with ThreadPoolExecutor(LISTINGS_AT_ONCE, thread_name_prefix="catalog") as threads:
            while parts:
                pages = list(threads.map(self._page, parts))
                found += pages
                parts = [rest for part, page in zip(parts, pages, strict=True) for rest in part.rest(page)]
        entries = _by_backup(chain.from_iterable(found))
        return sorted(entries, key=lambda entry: (entry.backup_id, entry.source), reverse=True)

    def backups(self, source: str | None = None) -> list[CatalogEntry]:
        """Backups that exist, which are those with a manifest; newest first."""
        return [entry for entry in self.entries(source) if entry.sealed]

    def manifest(self, source: str, backup_id: str) -> Manifest:
        """Read a manifest.

        Raises RepositoryError when there is none, VerificationError when it was edited or belongs elsewhere.
        """
        if not is_backup_id(backup_id):
            raise RepositoryError(
                f"{backup_id!r} is not a backup id.", "Give one as listed, such as 20261123T020004Z-7f3a91."
            )
        key = manifest_key(source, backup_id)
        manifest = Manifest.from_json(self.store.get(key), f"{self.store.url}/{key}")
        if (manifest.source, manifest.backup_id) != (source, backup_id):
            what = "another backup of the same source" if manifest.source == source else "a backup of another source"
            raise VerificationError(
                f"{self.store.url}/{key} is the manifest of {manifest.source}/{manifest.backup_id}, {what}.",
                "Someone copied it here manually: remove it, and use the backup from its own place.",
            )
        return manifest

    def seal(self, manifest: Manifest, restore_script: str, *, again: bool = False) -> None:
        """Make the backup exist: write restore.sh, then the manifest, if there is none yet.

        again: a repair, which replaces a manifest that is damaged, or that names damaged objects.
        """
        folder = catalog_folder(manifest.source, manifest.backup_id)
        self.store.put(folder + RESTORE_SCRIPT, restore_script.encode())
        if again:
            self.store.put(folder + MANIFEST, manifest.to_json())
        else:
            self.store.put_once(folder + MANIFEST, manifest.to_json())

    def entry(self, source: str, backup_id: str) -> CatalogEntry:
        """One backup, whether or not it exists: one request."""
        listed = self.store.list(catalog_folder(source, backup_id))
        return next(iter(_by_backup(listed)), None) or CatalogEntry(source, backup_id)

    def add_evidence(
        self,
        source: str,
        backup_id: str,
        evidence: Evidence,
        *,
        qualifier: str = "",
        seen: CatalogEntry | None = None,
        at: datetime | None = None,
    ) -> EvidenceName:
        """Write an immutable document beside the manifest.

        seen: the entry when the work began that ends with this evidence; later findings are not answered by it. None:
        now.
        at: time of the evidence; by default now.
        """
        kind = evidence.kind
        answered = _ANSWERED.get(kind, kind)
        digest = ""
        # a hold is released manually, too, by somebody who does not know how to name it
        if answered in _ANSWERED.values() and kind is not EvidenceKind.HELD:
            findings = (seen or self.entry(source, backup_id)).findings(answered)
            digest = digest_of(reached(kind, qualifier, findings))
        name = EvidenceName(at or datetime.now(UTC), kind, qualifier, digest)
        document = {"kind": kind, "at": name.at.isoformat(), "source": source, "backup_id": backup_id}
        text = json.dumps({**document, "worker": platform.node(), **evidence.body()}, indent=1)
        self.store.put_once(catalog_folder(source, backup_id) + name.file_name, text.encode())
        return name

    def read_evidence(self, entry: CatalogEntry, name: EvidenceName) -> dict[str, Any]:
        """Read a document beside the manifest.

        Raises RepositoryError when it cannot be read, VerificationError when it is no JSON object.
        """
        key = catalog_folder(entry.source, entry.backup_id) + name.file_name
        try:
            document = json.loads(self.store.get(key))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise VerificationError(
                f"{self.store.url}/{key} is no evidence: it holds no JSON object.",
                "Find out who wrote to the bucket, and verify the backup again.",
            )
        return document

    def _page(self, part: _Range) -> list[Listed]:
        return list(islice(self.store.list(part.folder, after=part.after, before=part.before), LISTED_PER_PAGE))


class _Range(NamedTuple):
    """A part of a source's catalog: the keys after `after`, of backups before `until`."""

    folder: str
    after: str = ""
    until: datetime | None = None

    @property
    def before(self) -> str:
        return self.folder + evidence_stamp(self.until) if self.until else ""

    def rest(self, page: list[Listed]) -> list[_Range]:
        """The ranges that follow a full page of this one, to be listed side by side.

        The pages of one listing can only come one after the other, at some 0.1 s each from S3. So each range is made
        for one page, if backups are as frequent as in this one; where it has more, it is divided again.
        """
        if len(page) < LISTED_PER_PAGE:
            return []
        last = page[-1].key
        first, newest = split_key(page[0].key), split_key(last)
        borders: list[datetime] = []
        if first and newest:
            start = backup_time(newest[1])
            left = (self.until or datetime.now(UTC)) - start
            pages = left / max(start - backup_time(first[1]), timedelta(seconds=1))
            # where a clock ran ahead, nothing is left, and one range has all
            count = min(LISTINGS_AT_ONCE, ceil(pages / PAGE_FILLED))
            borders = [start + left / count * number for number in range(1, count)]
        found = []
        for until in (*borders, self.until):
            found.append(_Range(self.folder, last, until))
            last = max(last, found[-1].before)
        return found


def _by_backup(listed: Iterable[Listed]) -> Iterable[CatalogEntry]:
    found: dict[tuple[str, str], CatalogEntry] = {}
    for item in listed:
        if not (parts := split_key(item.key)):
            continue
        source, backup_id, file_name = parts
        if not (entry := found.get((source, backup_id))):
            entry = found[source, backup_id] = CatalogEntry(source, backup_id)
        if file_name == MANIFEST:
            entry.sealed, entry.sealed_at = True, item.modified
        elif evidence := EvidenceName.parse(file_name):
            entry.evidence.append(evidence)
    return found.values()
