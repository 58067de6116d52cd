"""Survey of all repositories of a source. One that cannot be read is a fact, not an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from backup_playbook.core.details import data_bytes
from backup_playbook.core.errors import PlaybookError, VerificationError
from backup_playbook.core.evidence import Evidence, Restored
from backup_playbook.core.facts import Rejection, Unreadable
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.recovery_points import RATES_CONSIDERED
from backup_playbook.repository.catalog import LISTINGS_AT_ONCE, Catalog, CatalogEntry
from backup_playbook.repository.layout import EvidenceName

READS_AT_ONCE = 8

AnyEvidence = TypeVar("AnyEvidence", bound=Evidence)
OpenCatalog = Callable[[str], Catalog]
"""Opens the catalog of a repository by name. Raises PlaybookError."""


@dataclass
class Survey:
    """The backups of one source by repository, and the failures on the way to them.

    listed: sealed backups, newest first. unreadable: the first failure of each repository.
    """

    source: str
    catalogs: dict[str, Catalog] = field(default_factory=dict)
    listed: dict[str, list[CatalogEntry]] = field(default_factory=dict)
    unreadable: dict[str, Unreadable] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)

    @contextmanager
    def asking(self, repository: str) -> Iterator[None]:
        """Note a failure of the repository as a fact about it."""
        try:
            yield
        except PlaybookError as error:
            self.unreadable.setdefault(repository, Unreadable(repository, error.what, error.remedy))

    def manifest(self, repository: str, backup_id: str) -> Manifest | None:
        """Read a manifest; None when it cannot be read, or was tampered with, which is noted as a rejection."""
        with self.asking(repository):
            try:
                return self.catalogs[repository].manifest(self.source, backup_id)
            except VerificationError as error:
                self.rejections.append(Rejection(repository, backup_id, error.what))
        return None

    def evidence(
        self, repository: str, wanted: Iterable[tuple[CatalogEntry, EvidenceName]], model: type[AnyEvidence]
    ) -> list[AnyEvidence | None]:
        """Read evidence of a kind, in the same order; None for documents that nobody here wrote.

        Empty when the repository fails.
        """
        catalog = self.catalogs[repository]

        def read(entry: CatalogEntry, name: EvidenceName) -> AnyEvidence | None:
            try:
                return model.read(catalog.read_evidence(entry, name))
            except VerificationError:
                return None

        with self.asking(repository), ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="evidence") as threads:
            return list(threads.map(lambda pair: read(*pair), wanted))
        return []


def survey(source: str, repositories: Sequence[str], open_catalog: OpenCatalog) -> Survey:
    """List the backups of a source in each repository, side by side."""
    found = Survey(source)
    for name in repositories:
        with found.asking(name):
            found.catalogs[name] = open_catalog(name)

    def listed(name: str) -> list[CatalogEntry] | None:
        with found.asking(name):
            return found.catalogs[name].backups(source)
        return None

    with ThreadPoolExecutor(LISTINGS_AT_ONCE, thread_name_prefix="survey") as threads:
        answers = zip(found.catalogs, threads.map(listed, found.catalogs), strict=True)
        found.listed = {name: entries for name, entries in answers if entries is not None}
    return found


def newest_evidence(entries: Iterable[CatalogEntry], kind: EvidenceKind) -> list[tuple[CatalogEntry, EvidenceName]]:
    """List all evidence of a kind, newest first."""
    found = [(entry, name) for entry in entries for name in entry.evidence if name.kind is kind]
    return sorted(found, key=lambda pair: pair[1], reverse=True)


def newest_restores(seen: Survey, number: int = RATES_CONSIDERED) -> list[Restored]:
    """Read the newest proofs that any of the repositories has, each once, in no order.

    Sizes that earlier releases left out are those of the manifests: few documents need that, and theirs are small.
    """
    proofs = {
        (name.at, name.qualifier, entry.backup_id): (repository, entry, name)
        for repository, entries in reversed(seen.listed.items())
        for entry, name in newest_evidence(entries, EvidenceKind.RESTORED)
    }
    wanted: dict[str, list[tuple[CatalogEntry, EvidenceName]]] = {}
    for key in sorted(proofs, reverse=True)[:number]:
        repository, entry, name = proofs[key]
        wanted.setdefault(repository, []).append((entry, name))
    found = []
    for repository, pairs in wanted.items():
        for (entry, _), restored in zip(pairs, seen.evidence(repository, pairs, Restored), strict=False):
            if restored and restored.content_bytes is None and (manifest := seen.manifest(repository, entry.backup_id)):
                restored = restored.model_copy(update={"content_bytes": data_bytes(manifest)})
            found += [restored] if restored else []
    return found
