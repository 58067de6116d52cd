"""All repositories of a source at once, so that none of them has to be there: what is read, and what is kept.

What is kept (undo scripts, reports, evidence) goes first to the repository that the backup was read from: it answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from botocore.config import Config

from backup_playbook.config import PlaybookConfig
from backup_playbook.core.errors import PlaybookError, RepositoryError, UnequalError, VerificationError
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.recovery_points import is_sound
from backup_playbook.dag_parts import connections
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import HURRIED

log = logging.getLogger(__name__)

T = TypeVar("T")


class Repositories:
    """client: how patiently they are asked. One that has failed is not asked again."""

    def __init__(self, config: PlaybookConfig, client: Config | None = HURRIED) -> None:
        self._config = config
        self._client = client
        self.failed: dict[str, PlaybookError] = {}

    def all(self, names: Sequence[str], act: Callable[[Catalog], T]) -> dict[str, T]:
        """What each one answers that does, in this order."""
        return dict(self._answers(names, act))

    def every(self, names: Sequence[str], act: Callable[[Catalog], T]) -> dict[str, T]:
        """The same; raises what those said that failed, when all have had their turn."""
        done = self.all(names, act)
        if failed := [name for name in names if name in self.failed]:
            raise self.error(failed)
        return done

    def first(self, names: Sequence[str], act: Callable[[Catalog], T]) -> tuple[str, T]:
        """The first one that does it, and its answer. Raises RepositoryError with what each of them said."""
        for answer in self._answers(names, act):
            return answer
        raise self.error(names)

    def error(self, names: Sequence[str]) -> PlaybookError:
        """Why none of them did."""
        first, *others = (self.failed[name] for name in names)
        if not others:
            return first
        what = "; ".join(f"{name}: {self.failed[name].what.rstrip('.')}" for name in names)
        return RepositoryError(f"{what}.", " ".join(dict.fromkeys(self.failed[name].remedy for name in names)))

    def _answers(self, names: Sequence[str], act: Callable[[Catalog], T]) -> Iterator[tuple[str, T]]:
        for name in names:
            if name in self.failed:
                continue
            try:
                answer = act(connections.catalog(self._config, name, self._client))
            except PlaybookError as error:
                log.warning("The repository %s did not answer as it should: %s", name, error.what)
                self.failed[name] = error
            else:
                yield name, answer


def names_of(config: PlaybookConfig, source: str, first: str = "") -> list[str]:
    """The repositories of a source, the primary one first, or the one that is named."""
    settings = config.source(source)
    return sorted((settings.repository, *settings.offsite), key=lambda name: name != first)


def keep(config: PlaybookConfig, source: str, first: str, documents: Mapping[str, bytes]) -> str:
    """Store documents by key in the first repository that takes them; returns its address. Raises RepositoryError."""

    def put(catalog: Catalog) -> str:
        for key, body in documents.items():
            catalog.store.put(key, body)
        return catalog.store.url

    return Repositories(config, client=None).first(names_of(config, source, first), put)[1]


def keep_report(
    config: PlaybookConfig, source: str, first: str, name: str, machine: bytes, markdown: str
) -> tuple[str, str]:
    """Store a report; returns the address of its Markdown. When nobody takes it: empty, and a sentence that says so.

    What happened has happened: a report that is lost must not make it a failure.
    """
    key = f"reports/{source}/{name}"
    try:
        address = keep(config, source, first, {f"{key}.json": machine, f"{key}.md": markdown.encode()})
    except PlaybookError as error:
        log.error("The report could not be stored. This is it:\n%s\n%s\n%s", markdown, machine.decode(), error)
        return "", f"Its report is in this task's log only, for no repository took it: {error.what}"
    log.info("%s/%s.md\n%s", address, key, markdown)
    return f"{address}/{key}.md", ""


def find_manifest(config: PlaybookConfig, source: str, first: str, backup_id: str) -> Manifest | None:
    """Of any copy; None when no repository answers."""
    try:
        return Repositories(config).first(
            names_of(config, source, first), lambda catalog: catalog.manifest(source, backup_id)
        )[1]
    except PlaybookError:
        return None


def add_proof(
    config: PlaybookConfig, source: str, backup_id: str, repository: str, origin: str, body: dict[str, Any]
) -> list[str]:
    """Evidence of a proven restore, in every repository whose copy is known to be equal: proven there, it is known
    when the others are gone. repository: the one that was read. origin: Manifest.origin_seal.

    Returns what could not be written, a sentence each.
    """
    now = datetime.now(UTC)

    def add(catalog: Catalog) -> None:
        if catalog.store.name != repository and not catalog.entry(source, backup_id).verified:
            return  # a copy that nobody has read is not proven by another one; once it is read, share_verdicts tells it
        manifest = catalog.manifest(source, backup_id)
        if manifest.origin_seal == origin:
            facts = {"content_bytes": manifest.content_bytes, "from": repository, **body}
            catalog.add_evidence(source, backup_id, EvidenceKind.RESTORED, facts, qualifier=repository, at=now)

    asked = Repositories(config)
    asked.all(names_of(config, source, repository), add)
    return [f"{name} does not know of this proof: {error.what}" for name, error in asked.failed.items()]


def add_finding(
    config: PlaybookConfig, source: str, backup_id: str, repository: str, kind: str, problem: str
) -> list[str]:
    """Evidence against a backup: `rejected`, what is stored in this repository is damaged; `unequal`, the copy was not
    what was backed up, which is known of it in every repository that has it.

    Returns what could not be written, a sentence each.
    """
    found, now = EvidenceKind(kind), datetime.now(UTC)
    body = {"depth": "restore", "what": problem, "problems": [problem], "from": repository}

    def add(catalog: Catalog) -> None:
        if catalog.store.name == repository or catalog.entry(source, backup_id).sealed:
            catalog.add_evidence(source, backup_id, found, body, qualifier="restore", at=now)

    asked = Repositories(config, client=None)
    asked.all([repository] if found is EvidenceKind.REJECTED else names_of(config, source, repository), add)
    return [f"{name} does not know of this: {error.what}" for name, error in asked.failed.items()]


@contextmanager
def naming_others(config: PlaybookConfig, source: str, repository: str, backup_id: str) -> Iterator[None]:
    """What goes wrong with a backup in one repository says which other one has it, or has another verified one."""
    try:
        yield
    except UnequalError:
        raise  # it says nothing of this repository
    except (RepositoryError, VerificationError) as error:
        # a bucket that files are restored into is another one
        if isinstance(error, VerificationError) or config.repository(repository).bucket in error.what:
            error.remedy = f"{error.remedy} {_others(config, source, repository, backup_id)}".strip()
        raise


def or_choose(config: PlaybookConfig, source: str, name: str, backup_id: str) -> str:
    """What a person can do when another repository has what one has not."""
    field = "primary" if name == config.source(source).repository else "offsite"
    return f"Or choose `{field}` in the field Repository: {name} has the verified backup {backup_id}."


def _others(config: PlaybookConfig, source: str, repository: str, backup_id: str) -> str:
    others = [name for name in names_of(config, source) if name != repository]
    now = datetime.now(UTC)
    for name, backups in Repositories(config).all(others, lambda catalog: catalog.backups(source)).items():
        sound = [one for one in backups if is_sound(one, now)]
        if found := next((one for one in sound if one.backup_id == backup_id), next(iter(sound), None)):
            return or_choose(config, source, name, found.backup_id)
    return "No other repository is known to have a verified backup of it." if others else ""
