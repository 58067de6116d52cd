"""Fields that the forms of the recoveries share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from airflow.sdk import Param

from backup_playbook.config import load_config


def recoverable_sources(engine: str = "postgres") -> list[str]:
    """The sources whose production database may be touched. Raises ConfigError: an import error of the DAG."""
    return [name for name, settings in load_config().sources.items() if settings.recovery and settings.engine == engine]


def longest_rto(names: Sequence[str] | None = None) -> timedelta:
    """Of the sources, by default of those that can be recovered: the DAG is announced as late after it."""
    config = load_config()
    names = recoverable_sources() if names is None else names
    return max((config.objectives_of(name).rto for name in names), default=timedelta(hours=1))


def source_param(names: Sequence[str] | None = None) -> Param:
    """names: by default those that can be recovered."""
    description = "Whose database? Those with `recovery` in sources.yaml." if names is None else "Whose database?"
    names = recoverable_sources() if names is None else names
    choices = {"enum": list(names)} if names else {}  # an empty list of choices is no valid schema
    default = {"default": names[0]} if len(names) == 1 else {}
    return Param(
        type="string",
        title="Source",
        description_md=description,
        **choices,
        **default,
    )


def backup_param() -> Param:
    return Param(
        "latest",
        type="string",
        title="Backup",
        description_md="`latest` verified one, `latest_proven`, or an id from list_recovery_points.",
        pattern=r"^(latest|latest_proven|\d{8}T\d{6}Z-[0-9a-f]{6})$",
    )


def allow_unverified_param() -> Param:
    return Param(
        False,
        type="boolean",
        title="Allow an unverified backup",
        description_md="The backup that is named by its id may be one that nobody has checked. Never a rejected one.",
    )


def drill_param() -> Param:
    return Param(
        False,
        type="boolean",
        title="Drill",
        description_md="Asks nobody. Refused unless policies.yaml allows unattended drills.",
    )


def quarantine_param() -> Param:
    return Param(
        "newest",
        type="string",
        title="Quarantine",
        description_md="`newest`, or its name: `shop__quarantine_20261123_120000`; the recovery's report tells it.",
        pattern=r"^(newest|.+__quarantine_\d{8}_\d{6})$",
    )
