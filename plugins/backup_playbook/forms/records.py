"""The fields of forms on rows and documents."""

from __future__ import annotations

from airflow.sdk import Param

from backup_playbook.forms.fields import choice_param, optional_list_param


def table_param(default: str | None = None) -> Param:
    """Return the field for a table. default: empty: it may be left out."""
    return Param(
        default,
        type=["null", "string"] if default == "" else "string",
        title="Table",
        description_md="`schema.table`, or a table of the schema public.",
        minLength=0 if default == "" else 1,
        examples=["public.users", "public.orders"],
    )


def keys_param() -> Param:
    """Return the field for keys of rows."""
    return optional_list_param("Keys", 'Primary keys, one a line; of several columns, as JSON: ["12", "3"].')


def on_conflict_param(what: str) -> Param:
    """Return the field that says what becomes of conflicts. what: `rows`, `documents`."""
    return choice_param(
        "On conflict",
        f"`stop` names what stands in the way; `skip` leaves such {what} out; `overwrite` replaces {what} that differ.",
        "stop", "skip", "overwrite",
    )  # fmt: skip
