"""The backups of one source in all of its repositories: evidence and documents beside them.

What is kept (undo scripts, reports, evidence) goes first to the repository that the backup was read from: it answers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from backup_playbook.config import PlaybookConfig
from backup_playbook.connections.repositories import Repositories
from backup_playbook.core.details import data_bytes
from backup_playbook.core.errors import PlaybookError, RepositoryError, UnequalError, VerificationError
from backup_playbook.core.evidence import Rejected, Restored, Unequal
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.recovery_points import is_sound
from backup_playbook.repository.catalog import Catalog, CatalogEntry

log = logging.getLogger(__name__)


class Backups:
    """The backups of a source. names: its repositories, the primary one first."""

    def __init__(self, config: PlaybookConfig, source: str) -> None:
        self.config = config
        self.source = source
        settings = config.source(source)
        self.names = [settings.repository, *settings.offsite]

    def from_(self, first: str) -> list[str]:
        """Return the names of the repositories, this one first."""
        return sorted(self.names, key=lambda name: name != first)

    def proven(self, now: datetime) -> CatalogEntry | None:
        """Find the newest backup that a restore has proven, in any repository that answers; None: there is none."""
        listed = Repositories(self.config).all(self.names, lambda catalog: catalog.backups(self.source))
        found = [entry for entries in listed.values() for entry in entries if entry.proven and is_sound(entry, now)]
        return max(found, key=lambda entry: entry.backup_id, default=None)

    def manifest(self, first: str, backup_id: str) -> Manifest | None:
        """Read the manifest of any copy; None when no repository answers."""
        try:
            return Repositories(self.config).first(
                self.from_(first), lambda catalog: catalog.manifest(self.source, backup_id)
            )[1]
        except PlaybookError:
            return None

    def keep(self, first: str, documents: Mapping[str, bytes]) -> str:
        """Store documents by key in the first repository that takes them; return its address.

        Raises RepositoryError.
        """

        def put(catalog: Catalog) -> str:
            for key, body in documents.items():
                catalog.store.put(key, body)
            return catalog.store.url

        return Repositories(self.config, client=None).first(self.from_(first), put)[1]

    def keep_report(self, first: str, name: str, machine: bytes, markdown: str) -> tuple[str, str]:
        """Store a report; return the address of its Markdown. When nobody takes it: empty, and a sentence that says so.

        What happened has happened: a report that is lost must not make it a failure.
        """
        key = f"reports/{self.source}/{name}"
        try:
            address = self.keep(first, {f"{key}.json": machine, f"{key}.md": markdown.encode()})
        except PlaybookError as error:
            log.error("The report could not be stored. This is it:\n%s\n%s\n%s", markdown, machine.decode(), error)
            return "", f"Its report is in this task's log only, for no repository took it: {error.what}"
        log.info("%s/%s.md\n%s", address, key, markdown)
        return f"{address}/{key}.md", ""

    def add_proof(self, backup_id: str, origin: str, proof: Restored) -> list[str]:
        """Write evidence of a proven restore into every repository whose copy is known to be equal.

        Proven in one, it is known when the others are gone. origin: Manifest.origin_seal. Returns what could not be
        written, a sentence each.
        """
        repository, others = proof.repository or self.names[0], []
        now = datetime.now(UTC)

        def add(catalog: Catalog) -> None:
            if catalog.store.name != repository and not catalog.entry(self.source, backup_id).verified:
                return  # a copy that nobody has read is not proven by another one; share_verdicts tells it later
            manifest = catalog.manifest(self.source, backup_id)
            if manifest.origin_seal != origin:
                others.append(f"{catalog.store.name} does not know of this proof: what it has there is another backup.")
            else:
                size = proof.content_bytes or data_bytes(manifest)
                facts = proof.model_copy(update={"content_bytes": size})
                catalog.add_evidence(self.source, backup_id, facts, qualifier=repository, at=now)

        asked = Repositories(self.config)
        asked.all(self.from_(repository), add)
        return others + [f"{name} does not know of this proof: {error.what}" for name, error in asked.failed.items()]

    def add_finding(self, backup_id: str, repository: str, kind: str, problem: str) -> list[str]:
        """Write evidence against a backup; return what could not be written, a sentence each.

        kind: `rejected`, what is stored in this repository is damaged; `unequal`, the copy was not what was backed up,
        which is known of it in every repository that has it.
        """
        model, now = Rejected if kind == EvidenceKind.REJECTED else Unequal, datetime.now(UTC)
        finding = model(depth="restore", what=problem, problems=(problem,), repository=repository)

        def add(catalog: Catalog) -> None:
            if catalog.store.name == repository or catalog.entry(self.source, backup_id).sealed:
                catalog.add_evidence(self.source, backup_id, finding, qualifier="restore", at=now)

        asked = Repositories(self.config, client=None)
        asked.all([repository] if model is Rejected else self.from_(repository), add)
        return [f"{name} does not know of this: {error.what}" for name, error in asked.failed.items()]

    @contextmanager
    def naming_others(self, repository: str, backup_id: str) -> Iterator[None]:
        """Let an error about a backup in one repository say which other one has it, or has another verified one."""
        try:
            yield
        except UnequalError:
            raise  # it says nothing of this repository
        except (RepositoryError, VerificationError) as error:
            # a bucket that files are restored into is another one
            if isinstance(error, VerificationError) or self.config.repository(repository).bucket in error.what:
                error.remedy = f"{error.remedy} {self._others(repository, backup_id)}".strip()
            raise

    def or_choose(self, name: str, backup_id: str) -> str:
        """Return what a person can do when the repository `name` has what another one has not."""
        field = "primary" if name == self.names[0] else "offsite"
        return f"Or choose `{field}` in the field Repository: {name} has the verified backup {backup_id}."

    def _others(self, repository: str, backup_id: str) -> str:
        others = [name for name in self.names if name != repository]
        now = datetime.now(UTC)
        for name, backups in Repositories(self.config).all(others, lambda one: one.backups(self.source)).items():
            sound = [one for one in backups if is_sound(one, now)]
            if found := next((one for one in sound if one.backup_id == backup_id), next(iter(sound), None)):
                return self.or_choose(name, found.backup_id)
        return "No other repository is known to have a verified backup of it." if others else ""
