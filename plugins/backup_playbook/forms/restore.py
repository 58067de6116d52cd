"""The form of a restore of a database."""

from __future__ import annotations

from airflow.sdk import Param

from backup_playbook.config import load_config
from backup_playbook.forms.fields import choice_param, optional_list_param, optional_text_param

NEW_DATABASE, STAGING, TO_PRODUCTION = TARGETS = ("new_database", "staging", "production")
TESTED_ON = "of the restore test"
"""The choice for the server of the source's restore test."""


def target_param() -> Param:
    """Return the field that says where to."""
    return choice_param("Target", "Where to? Production is restored on staging first, and asks for approval.", *TARGETS)


def name_param() -> Param:
    """Return the field for the name of a new database."""
    return optional_text_param(
        "Name of the new database",
        "For the target new_database: small letters, digits and underscores. Empty: `<name>__restored_<time>`.",
        pattern=r"^([a-z_][a-z0-9_]{0,62})?$",
    )


def server_param() -> Param:
    """Return the field for the server of a new database: the targets that are no place for files."""
    servers = [name for name, target in load_config().targets.items() if target.kind == "database"]
    words = "One of targets.yaml, of the source's engine; by default that of the source's restore test."
    return choice_param("Server of the new database", words, TESTED_ON, *servers)


def only_param() -> Param:
    """Return the field for a part of a backup."""
    return optional_list_param(
        "Only",
        "Rows of these schemas or tables only, one a line: `public.orders`. Empty: everything. For Postgres.",
    )
