"""Which sources a run is about."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, task

from backup_playbook.config import FilesSource, load_config
from backup_playbook.dag_parts.recovery_form import optional_text_param


def database_names() -> list[str]:
    """All configured database sources. Raises ConfigError, which the UI shows as an import error of the DAG."""
    return [name for name, settings in load_config().sources.items() if not isinstance(settings, FilesSource)]


def sources_of(engine: str) -> list[str]:
    """The same for one engine."""
    return [name for name, settings in load_config().sources.items() if settings.engine == engine]


def file_tree_names() -> list[str]:
    return sources_of("files")


def sources_param(names: list[str]) -> Param:
    """A form field to choose among sources; all of them by default."""
    return Param(
        names,
        type="array",
        # an empty list of choices is no valid schema
        items={"type": "string", "enum": names} if names else {"type": "string"},
        minItems=min(1, len(names)),
        uniqueItems=True,
        examples=names,
        title="Sources",
        description="Which ones. All of them when left as it is.",
    )


def backup_form(names: list[str]) -> dict[str, Param]:
    """Of a nightly backup that is started by hand."""
    return {
        "sources": sources_param(names),
        "hold": Param(False, type="boolean", title="Hold", description="Keep this backup until someone releases it."),
        "reason": optional_text_param("Reason", "Why: stored with a hold.", maxLength=500),
        "dry_run": Param(False, type="boolean", title="Prune: dry run", description="Only show what would be removed."),
    }


@task(retries=0)
def list_sources(params: dict[str, Any]) -> list[str]:
    """The sources of this run. Raises ConfigError for one that left the configuration since the form was filled in."""
    config = load_config()
    names: list[str] = params["sources"]
    for name in names:
        config.source(name)
    return names
