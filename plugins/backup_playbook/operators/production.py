"""What every step that changes something live has in common: it does nothing without an answer to its plan."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from backup_playbook.dag_parts.approval import require_answer
from backup_playbook.operators.base import PlaybookOperator


class ChangesProduction(PlaybookOperator):
    """A step that is refused unless its plan, as it is now, was approved.

    approval: what the approval returned; nothing when it was marked as successful by hand. To be named first among the
    bases, with "approval" in `template_fields`.
    """

    def __init__(self, *, approval: Any = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.approval = approval

    def pre_execute(self, context: Context) -> None:
        super().pre_execute(context)
        if self.is_asked_about(context):
            require_answer(context["ti"], self.approval)

    def is_asked_about(self, context: Context) -> bool:  # noqa: ARG002 - for those that decide by the form
        """Whether this run of it changes something live."""
        return True
