"""The guard of every step that changes something live: it does nothing without an answer to its plan."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from backup_playbook.operators.approval import require_answer
from backup_playbook.operators.base import PlaybookOperator


class ChangesProduction(PlaybookOperator):
    """A step that is refused unless its plan, as it is now, was approved.

    To be named first among the bases, with "approval" in `template_fields`.

    :param approval: the output of the approval; nothing when it was marked as successful manually.
    """

    def __init__(self, *, approval: Any = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.approval = approval

    def pre_execute(self, context: Context) -> None:
        """Raise ApprovalError without an answer to the plan as it is now."""
        super().pre_execute(context)
        if self.is_asked_about(context):
            require_answer(context["ti"], self.approval)

    def is_asked_about(self, context: Context) -> bool:  # noqa: ARG002 - for those that decide
        """Say whether this step changes something live."""
        return True
