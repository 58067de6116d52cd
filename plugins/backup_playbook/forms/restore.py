"""The form of a full restore, and where its two ways part."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, task

from backup_playbook.config import load_config
from backup_playbook.dag_parts.recovery_form import choice_param, optional_list_param, optional_text_param
from backup_playbook.operators.full_restore import TARGETS, TESTED_ON


def target_param() -> Param:
    return choice_param("Target", "Where to? Production is restored on staging first, and asks for approval.", *TARGETS)


def name_param() -> Param:
    return optional_text_param(
        "Name of the new database",
        "For the target new_database: small letters, digits and underscores. Empty: `<name>__restored_<time>`.",
        pattern=r"^([a-z_][a-z0-9_]{0,62})?$",
    )


def server_param(engine: str) -> Param:
    return choice_param(
        "Server of the new database", "One of targets.yaml; by default that of the source's restore test.",
        TESTED_ON, *(name for name, target in load_config().targets.items() if target.engine == engine),
    )  # fmt: skip


def only_param() -> Param:
    return optional_list_param(
        "Only", "Rows of these schemas or tables only, one a line: `public.orders`. Empty: everything."
    )


@task.branch(retries=0, trigger_rule="none_failed")
def branch_on_target(params: dict[str, Any]) -> str:
    """The application's checks may be skipped."""
    return "present_plan" if params["target"] == "production" else "staging.keep_copy"
