"""What all operators share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from airflow.sdk import BaseOperator

from backup_playbook.config import PlaybookConfig, load_config
from backup_playbook.streams.processes import Cancellation


class PlaybookOperator(BaseOperator):
    """A step for one source. Mapped, the grid shows the sources' names."""

    source: str

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{"map_index_template": "{{ task.source }}", **arguments})

    @cached_property
    def config(self) -> PlaybookConfig:
        return load_config()

    @cached_property
    def cancellation(self) -> Cancellation:
        return Cancellation()

    def on_kill(self) -> None:
        """Marked as failed, or cleared while running: end psql, pg_dump and gpg with the task."""
        self.cancellation.cancel()


class SourceOperator(PlaybookOperator):
    """A step that is told its source."""

    template_fields: Sequence[str] = ("source",)

    def __init__(self, *, source: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.source = source


def is_true(value: bool | str) -> bool:
    """A boolean, or what Jinja makes of one: `{{ params.hold }}` is rendered as text, "True" or "False".

    Not `render_template_as_native_obj`: it would also turn a reason of `007` or `[x]` into something else than text.
    Raises ValueError for anything else, so that a mistyped template never passes for "no".
    """
    words = {"True": True, "False": False}
    if str(value) not in words:
        raise ValueError(f"Expected True or False, got {value!r}. What to do: correct the template or the parameter.")
    return words[str(value)]
