"""Checks across files: names that other files must define, and entries that contradict each other.

They work on the documents as they were read, so that a wrong value elsewhere in a file hides nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from backup_playbook.config.models import RepositorySettings
from backup_playbook.config.problems import one_of

Documents = Mapping[str, object]

_REFERENCES = (
    # path in a source, file, section, what an entry there is called
    ("repository", "repositories.yaml", "repositories", "repository"),
    ("offsite", "repositories.yaml", "repositories", "repository"),
    ("encryption", "encryption.yaml", "encryption", "encryption"),
    ("retention", "policies.yaml", "retention", "retention policy"),
    ("objectives", "policies.yaml", "objectives", "set of objectives"),
    ("restore_test.target", "targets.yaml", "targets", "target"),
)


def check_together(documents: Documents) -> Iterator[str]:
    """Lines `file: path: What to do. What is wrong.`, one for each problem. A file that is missing is left out."""
    yield from _references(documents)
    yield from _targets_of_another_engine(documents)
    yield from _offsite_copies(documents)
    yield from _same_database(documents)
    yield from _same_place(documents)


def _references(documents: Documents) -> Iterator[str]:
    for source, settings in _entries(documents, "sources.yaml", "sources"):
        for key, file, section, kind in _REFERENCES:
            defined = [name for name, _ in _entries(documents, file, section)]
            for name in _names(_at(settings, key)):
                if file in documents and name not in defined:
                    where = f"sources.yaml: sources.{source}.{key}"
                    if defined:
                        yield f"{where}: {one_of(defined, name, kind)}"
                    else:
                        yield f"{where}: Add '{name}' to {file}. It defines nothing under '{section}'."


def _targets_of_another_engine(documents: Documents) -> Iterator[str]:
    engines = {name: str(settings.get("engine")) for name, settings in _entries(documents, "targets.yaml", "targets")}
    for source, settings in _entries(documents, "sources.yaml", "sources"):
        engine = settings.get("engine")
        for target in _names(_at(settings, "restore_test.target")):
            if target in engines and engine and engines[target] != engine:
                yield (
                    f"sources.yaml: sources.{source}.restore_test.target: Name a target whose engine is {engine}. "
                    f"'{target}' is a server of {engines[target]}."
                )


def _offsite_copies(documents: Documents) -> Iterator[str]:
    buckets = {
        name: (settings.get("connection"), settings.get("bucket"))
        for name, settings in _entries(documents, "repositories.yaml", "repositories")
    }
    for source, settings in _entries(documents, "sources.yaml", "sources"):
        where = f"sources.yaml: sources.{source}.offsite"
        copies = _names(settings.get("offsite"))
        for primary in _names(settings.get("repository")):
            for copy in dict.fromkeys(copies):
                if copy == primary:
                    yield f"{where}: Name another repository. '{copy}' is the one that the backups are written to."
                elif copy in buckets and buckets[copy] == buckets.get(primary):
                    yield (
                        f"{where}: Name a repository in another bucket. '{copy}' is in the bucket of '{primary}', "
                        "and would be lost with it."
                    )
        for copy in sorted({copy for copy in copies if copies.count(copy) > 1}):
            yield f"{where}: Name '{copy}' once. It is there {copies.count(copy)} times."


def _same_database(documents: Documents) -> Iterator[str]:
    seen: dict[Hashable, str] = {}
    for source, settings in _entries(documents, "sources.yaml", "sources"):
        place = tuple(str(settings.get(key)) for key in ("engine", "connection", "database"))
        other = seen.setdefault(place, source)
        if other != source and settings.get("connection"):
            yield (
                f"sources.yaml: sources.{source}: Remove one of the two, or set `database`. "
                f"Source '{other}' is the same database."
            )


def _same_place(documents: Documents) -> Iterator[str]:
    seen: dict[Hashable, str] = {}
    default = RepositorySettings.model_fields["prefix"].default
    for name, settings in _entries(documents, "repositories.yaml", "repositories"):
        place = (str(settings.get("connection")), str(settings.get("bucket")), str(settings.get("prefix", default)))
        other = seen.setdefault(place, name)
        if other != name and settings.get("bucket"):
            yield (
                f"repositories.yaml: repositories.{name}: Give it a bucket or a prefix of its own. "
                f"Repository '{other}' is the same place."
            )


def _entries(documents: Documents, file: str, section: str) -> list[tuple[str, Mapping[str, Any]]]:
    document = documents.get(file)
    entries = document.get(section) if isinstance(document, Mapping) else None
    if not isinstance(entries, Mapping):
        return []
    return [(str(name), entry if isinstance(entry, Mapping) else {}) for name, entry in entries.items()]


def _at(settings: Mapping[str, Any], path: str) -> object:
    value: object = settings
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _names(value: object) -> list[str]:
    return [name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str)]
