"""The fields of forms on files."""

from __future__ import annotations

from airflow.sdk import Param

from backup_playbook.config import load_config
from backup_playbook.forms.fields import choice_param, choices, optional_list_param, optional_text_param

NEW_DIRECTORY, IN_PLACE = "new_directory", "in_place"
"""Where files are restored to: into a directory of the run's own, or into the source itself."""

WANTED_BY_FORM = {
    "destination": "{{ params.destination }}",
    "target": "{{ params.target }}",
    "path": "{{ params.path or '' }}",
    "leave_out": "{{ params.leave_out | tojson }}",
    "overwrite_newer": "{{ params.overwrite_newer }}",
}
"""The arguments of each step of a restore of files, from a form that has these fields."""


def path_param(description: str) -> Param:
    """Return the field for a file or folder."""
    words = f"{description} As seen from the source: invoices/2026/12.pdf; a folder with a slash at its end: invoices/"
    return optional_text_param("Path", words)


def destination_param() -> Param:
    """Return the field for where the files go."""
    words = "A new directory; or in place, into the source itself, after an approval."
    return choice_param("Destination", words, NEW_DIRECTORY, IN_PLACE)


def files_target_param() -> Param:
    """Return the field for the target of a new directory."""
    names = [name for name, target in load_config().targets.items() if target.kind == "files"]
    return Param(
        names[0] if names else "",
        type="string",
        title="Target",
        description="Where the new directory is made; from targets.yaml.",
        **choices(names),
    )


def leave_out_files_param() -> Param:
    """Return the field for paths that are lost everywhere, say."""
    words = "All but these files and folders, one a line: as the log of `restore` names them."
    return optional_list_param("Leave out", words)
