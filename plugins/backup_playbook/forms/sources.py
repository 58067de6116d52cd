"""The sources that a run is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from airflow.sdk import Param

from backup_playbook.config import load_config
from backup_playbook.forms.fields import choices, optional_text_param


def sources(kind: str = "", *, records: str = "", recovery: bool = False, tested: bool = False) -> list[str]:
    """Return the names of configured sources. Raises ConfigError, which the UI shows as an import error of the DAG.

    kind: `database` or `files`; empty: both. records: those with such records. recovery: those whose production
    may be touched. tested: those with a restore test.
    """
    return [
        name
        for name, settings in load_config().sources.items()
        if kind in ("", settings.kind)
        and records in ("", settings.records)
        and (settings.recovery or not recovery)
        and (settings.restore_test or not tested)
    ]


def longest_rto(names: Sequence[str]) -> timedelta:
    """Return the longest RTO of these sources: the DAG is announced as late after it."""
    config = load_config()
    return max((config.objectives_of(name).rto for name in names), default=timedelta(hours=1))


def source_param(names: Sequence[str], description: str) -> Param:
    """Return the field for one of these sources."""
    default = {"default": names[0]} if len(names) == 1 else {}
    return Param(type="string", title="Source", description_md=description, **choices(names), **default)


def sources_param(names: list[str]) -> Param:
    """Return the field to choose among sources; all of them by default."""
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
    """Return the form of a nightly backup that is started manually."""
    return {
        "sources": sources_param(names),
        "hold": Param(
            False, type="boolean", title="Hold", description="Keep this backup until release_hold releases it."
        ),
        "reason": optional_text_param("Reason", "Why: stored with a hold.", maxLength=500),
        "dry_run": Param(False, type="boolean", title="Prune: dry run", description="Only show what would be removed."),
    }
