"""Loader of the configuration folder: all of it or, with every problem at once, nothing."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

from pydantic import ValidationError

from backup_playbook.config.alerts import AlertRoutes, AlertsFile
from backup_playbook.config.checks import check_together
from backup_playbook.config.encryption import Encryption, EncryptionFile
from backup_playbook.config.files import read_yaml
from backup_playbook.config.models import (
    RepositoriesFile,
    RepositorySettings,
    Source,
    SourcesFile,
    Target,
    TargetsFile,
)
from backup_playbook.config.policies import AirflowSettings, Objectives, PoliciesFile, Sweep
from backup_playbook.config.problems import choices, problems_of
from backup_playbook.config.strict import Strict
from backup_playbook.core.errors import ConfigError
from backup_playbook.core.retention import RetentionPolicy

FOLDER_VARIABLE = "BACKUP_PLAYBOOK_CONFIG"
DEFAULT_FOLDER = Path(__file__).resolve().parents[3] / "include" / "config"

FILES: Mapping[str, type[Strict]] = {
    "sources.yaml": SourcesFile,
    "repositories.yaml": RepositoriesFile,
    "targets.yaml": TargetsFile,
    "policies.yaml": PoliciesFile,
    "encryption.yaml": EncryptionFile,
    "alerts.yaml": AlertsFile,
}

_Entry = TypeVar("_Entry")


@dataclass(frozen=True)
class PlaybookConfig:
    """The whole configuration; every name in it is known to exist.

    Shared between callers. The methods raise ConfigError for a name that does not exist: names also come from forms.
    """

    folder: Path
    sources: Mapping[str, Source]
    repositories: Mapping[str, RepositorySettings]
    targets: Mapping[str, Target]
    policies: PoliciesFile
    encryption: Mapping[str, Encryption]
    alerts: AlertRoutes

    @property
    def sweep(self) -> Sweep:
        """Settings of the sweep."""
        return self.policies.sweep

    @property
    def airflow(self) -> AirflowSettings:
        """Settings of Airflow."""
        return self.policies.airflow

    def source(self, name: str) -> Source:
        """Settings of a source."""
        return _lookup(self.sources, name, "source", "sources.yaml")

    def repository(self, name: str) -> RepositorySettings:
        """Settings of a repository."""
        return _lookup(self.repositories, name, "repository", "repositories.yaml")

    def target(self, name: str) -> Target:
        """Settings of a target."""
        return _lookup(self.targets, name, "target", "targets.yaml")

    def retention_of(self, source: str) -> RetentionPolicy:
        """Retention policy of a source."""
        return self.policies.retention[self.source(source).retention].policy

    def objectives_of(self, source: str) -> Objectives:
        """Objectives of a source."""
        return self.policies.objectives[self.source(source).objectives]

    def encryption_of(self, source: str) -> Encryption | None:
        """Encryption of a source; None when we do not encrypt it."""
        name = self.source(source).encryption
        return None if name is None else self.encryption[name]


def load_config(folder: Path | None = None) -> PlaybookConfig:
    """Read the configuration in `folder`, else in the one that BACKUP_PLAYBOOK_CONFIG names, else in include/config.

    Cheap to call again: files are only read again once one of them has changed.
    Raises ConfigError, which lists every problem of every file.
    """
    folder = (folder or Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)).resolve()
    if not folder.is_dir():
        raise ConfigError(
            f"There is no configuration folder {folder}.",
            f"Create it (a copy of include/config is a good start), or point {FOLDER_VARIABLE} to the right one.",
        )
    return _load(folder, tuple(_version(folder / file) for file in FILES))


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _load(folder: Path, _versions: tuple[tuple[int, int] | None, ...]) -> PlaybookConfig:
    documents: dict[str, object] = {}
    parsed: dict[str, Strict] = {}
    problems: list[str] = []
    for file, model in FILES.items():
        if not (folder / file).exists():
            problems.append(f"{file}: {_missing(folder, file)}")
            continue
        document, found = read_yaml(folder / file)
        if document is not None:
            documents[file] = document
            try:
                parsed[file] = model.model_validate(document, context={"folder": folder})
            except ValidationError as error:
                found += problems_of(error, document, model)
        problems += [f"{file}: {problem}" for problem in found]
    problems += check_together(documents)
    if problems:
        raise _config_error(folder, problems)
    return PlaybookConfig(
        folder,
        cast(SourcesFile, parsed["sources.yaml"]).sources,
        cast(RepositoriesFile, parsed["repositories.yaml"]).repositories,
        cast(TargetsFile, parsed["targets.yaml"]).targets,
        cast(PoliciesFile, parsed["policies.yaml"]),
        cast(EncryptionFile, parsed["encryption.yaml"]).encryption,
        cast(AlertsFile, parsed["alerts.yaml"]).routes,
    )


def _missing(folder: Path, file: str) -> str:
    others = [path.name for path in folder.iterdir() if path.name not in FILES and path.is_file()]
    near = difflib.get_close_matches(file, others, n=1, cutoff=0.8)
    return f"Rename {near[0]} to {file}." if near else "Create the file. It does not exist."


def _config_error(folder: Path, problems: list[str]) -> ConfigError:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "".join(f"\n  {problem}" for problem in problems)
    return ConfigError(
        f"The configuration in {folder} has {count}; nothing was started:{lines}",
        "Correct the lines above, then check with: python -m backup_playbook.config check",
    )


def _lookup(entries: Mapping[str, _Entry], name: str, kind: str, file: str) -> _Entry:
    try:
        return entries[name]
    except KeyError:
        raise ConfigError(
            f"There is no {kind} '{name}' in {file}.", f"Name one of: {choices(entries, name)}."
        ) from None
