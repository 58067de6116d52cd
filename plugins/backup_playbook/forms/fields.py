"""Fields that the forms of the recoveries share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import Param

from backup_playbook.config import load_config

CHOSEN_BY_FORM = {
    "source": "{{ params.source }}",
    "backup": "{{ params.backup }}",
    "repository": "{{ params.repository }}",
    "allow_unverified": "{{ params.allow_unverified }}",
}
"""What ChooseBackup takes from a form that has these fields."""


def recoverable_sources(*engines: str) -> list[str]:
    """The sources whose production database may be touched. Raises ConfigError: an import error of the DAG."""
    engines = engines or ("postgres",)
    return [
        name for name, settings in load_config().sources.items() if settings.recovery and settings.engine in engines
    ]


def replaceable_sources() -> list[str]:
    """Those whose production a restored copy can replace, so that there can be a quarantine."""
    return recoverable_sources("postgres", "mongodb")


def longest_rto(names: Sequence[str] | None = None) -> timedelta:
    """Of the sources, by default of those that can be recovered: the DAG is announced as late after it."""
    config = load_config()
    names = recoverable_sources() if names is None else names
    return max((config.objectives_of(name).rto for name in names), default=timedelta(hours=1))


def choices(names: Sequence[str]) -> dict[str, list[str]]:
    """A dropdown; an empty list of choices is no valid schema."""
    return {"enum": list(names)} if names else {}


def choice_param(title: str, description: str, *choices: str) -> Param:
    """The first one is the default."""
    return Param(choices[0], type="string", enum=list(choices), title=title, description_md=description)


def source_param(names: Sequence[str] | None = None, description: str = "Whose database?") -> Param:
    """names: by default those that can be recovered."""
    if names is None:
        names, description = recoverable_sources(), f"{description} Those with `recovery` in sources.yaml."
    default = {"default": names[0]} if len(names) == 1 else {}
    return Param(type="string", title="Source", description_md=description, **choices(names), **default)


def optional_text_param(title: str, description: str, **schema: Any) -> Param:
    """It may be null: the form takes an empty text that may not for one that is missing, and cannot be sent then."""
    return Param("", type=["null", "string"], title=title, description_md=description, **schema)


def optional_list_param(title: str, description: str) -> Param:
    """Texts, one a line."""
    items = {"type": "string", "minLength": 1}
    return Param([], type=["null", "array"], items=items, title=title, description_md=description)


def leave_out_param() -> Param:
    return optional_list_param(
        "Leave out",
        "Definitions that the copy goes without, as its rows violate them: one a line, as the error of a restore named "
        "it: `FK CONSTRAINT public orders orders_user_id_fkey`. The plan and the report say so.",
    )


def before_param(title: str = "Before", if_empty: str = "Empty: the newest of all.") -> Param:
    return Param(
        None,
        type=["null", "string"],
        format="date-time",
        title=title,
        description_md=f"The newest verified backup before this moment is taken. {if_empty}",
    )


def repository_param(description: str = "Which copy of the backup is restored.") -> Param:
    words = f"{description} `any`: the primary one; the off-site one when that does not answer, or is not good."
    return choice_param("Repository", words, "any", "primary", "offsite")


def backup_param() -> Param:
    return Param(
        "latest",
        type="string",
        title="Backup",
        description_md="`latest` verified one, `latest_proven`, or an id from list_recovery_points.",
        pattern=r"^(latest|latest_proven|\d{8}T\d{6}Z-[0-9a-f]{6})$",
    )


def allow_unverified_param(rejected: str = "Never a rejected one.") -> Param:
    return Param(
        False,
        type="boolean",
        title="Allow an unverified backup",
        description_md=f"The backup that is named by its id may be one that nobody has checked. {rejected}",
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
