"""Fields that forms share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Param

CHOSEN_BY_FORM = {
    "source": "{{ params.source }}",
    "backup": "{{ params.backup }}",
    "repository": "{{ params.repository }}",
    "allow_unverified": "{{ params.allow_unverified }}",
}
"""Arguments of ChooseBackup, from a form that has these fields."""
REPOSITORIES = ("alternate", "any", "primary", "offsite")
"""Places to read from, as the repositories' names differ from source to source. `any`: the newest backup, of its copies
the primary one first. `alternate`: month by month another one. With both, one that does not answer, or has no good
copy, is passed over, and the plan says so."""


def choices(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the schema of a dropdown; an empty list of choices is no valid one."""
    return {"enum": list(names)} if names else {}


def choice_param(title: str, description: str, *choices: str) -> Param:
    """Return a field with choices; the first one is the default."""
    return Param(choices[0], type="string", enum=list(choices), title=title, description_md=description)


def optional_text_param(title: str, description: str, **schema: Any) -> Param:
    """Return a field for text that may be empty.

    It may be null, too: the form takes an empty text that may not for one that is missing, and cannot be sent then.
    """
    return Param("", type=["null", "string"], title=title, description_md=description, **schema)


def optional_list_param(title: str, description: str) -> Param:
    """Return a field for texts, one a line."""
    items = {"type": "string", "minLength": 1}
    return Param([], type=["null", "array"], items=items, title=title, description_md=description)


def leave_out_param() -> Param:
    """Return the field for definitions that the copy goes without."""
    return optional_list_param(
        "Leave out",
        "Definitions that the copy goes without, as its rows violate them: one a line, as the error of a restore named "
        "it: `FK CONSTRAINT public orders orders_user_id_fkey`. The plan and the report say so.",
    )


def before_param(title: str = "Before", if_empty: str = "Empty: the newest of all.") -> Param:
    """Return the field for a moment in the past."""
    return Param(
        None,
        type=["null", "string"],
        format="date-time",
        title=title,
        description_md=f"The newest verified backup before this moment is taken. {if_empty}",
    )


def repository_param(description: str = "Which copy of the backup is restored.") -> Param:
    """Return the field for the repository."""
    words = f"{description} `any`: the primary one; the off-site one when that does not answer, or is not good."
    return choice_param("Repository", words, "any", "primary", "offsite")


def backup_param() -> Param:
    """Return the field for the backup."""
    return Param(
        "latest",
        type="string",
        title="Backup",
        description_md="`latest` verified one, `latest_proven`, or an id from list_recovery_points.",
        pattern=r"^(latest|latest_proven|\d{8}T\d{6}Z-[0-9a-f]{6})$",
    )


def backup_id_param() -> Param:
    """Return the field for a backup by its id."""
    return Param(
        type="string",
        title="Backup",
        description_md="Its id, from list_recovery_points or from the run that took it.",
        pattern=r"^\d{8}T\d{6}Z-[0-9a-f]{6}$",
    )


def allow_unverified_param(rejected: str = "Never a rejected one.") -> Param:
    """Return the field that allows a backup which nobody has checked."""
    return Param(
        False,
        type="boolean",
        title="Allow an unverified backup",
        description_md=f"The backup that is named by its id may be one that nobody has checked. {rejected}",
    )


def drill_param() -> Param:
    """Return the field for a run that asks nobody."""
    return Param(
        False,
        type="boolean",
        title="Drill",
        description_md="Asks nobody. Refused unless policies.yaml allows unattended drills.",
    )


def quarantine_param() -> Param:
    """Return the field for what was replaced."""
    return Param(
        "newest",
        type="string",
        title="Quarantine",
        description_md="`newest`, or its name: `shop__quarantine_20261123_120000`; the recovery's report tells it.",
        pattern=r"^(newest|.+__quarantine_\d{8}_\d{6})$",
    )
