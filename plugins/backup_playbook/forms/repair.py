"""The form of a repair."""

from __future__ import annotations

from airflow.sdk import Param

from backup_playbook.forms.fields import choice_param

NEWEST_REJECTED = "newest_rejected"
WHERE = ("any", "primary", "offsite")


def damaged_param() -> Param:
    """Return the field for the damaged backup."""
    return Param(
        NEWEST_REJECTED,
        type="string",
        title="Backup",
        description_md=f"`{NEWEST_REJECTED}`, or the id that the alert names.",
        pattern=rf"^({NEWEST_REJECTED}|\d{{8}}T\d{{6}}Z-[0-9a-f]{{6}})$",
    )


def where_param() -> Param:
    """Return the field for the place of the damage."""
    return choice_param("Repository", "Where it is damaged. `any`: wherever it is rejected or missing.", *WHERE)
