"""What all operators on one source share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from airflow.sdk import BaseOperator

from backup_playbook.config import PlaybookConfig, load_config
from backup_playbook.streams.processes import Cancellation


class SourceOperator(BaseOperator):
    """A step for one source. Mapped over sources, the grid shows their names."""

    template_fields: Sequence[str] = ("source",)

    def __init__(self, *, source: str, **arguments: Any) -> None:
        super().__init__(**{"map_index_template": "{{ task.source }}", **arguments})
        self.source = source

    @cached_property
    def config(self) -> PlaybookConfig:
        return load_config()

    @cached_property
    def cancellation(self) -> Cancellation:
        return Cancellation()

    def on_kill(self) -> None:
        """Marked as failed, or cleared while running: end psql, pg_dump and gpg with the task."""
        self.cancellation.cancel()
