"""A person reads what is going to happen, and approves it; there is no default, and a timeout fails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context

from backup_playbook.config import load_config
from backup_playbook.core.errors import ConfigError
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.base import is_true

PLAN = "plan"
"""XCom of the task that plans: what will happen, as Markdown."""
IN_SHORT = "in_short"
"""XCom of the same task: the plan in a sentence, for the message."""
NOBODY = "nobody (a drill)"


class ApprovePlan(ApprovalOperator):
    """Shows the plan, and tells people that it waits. Rejected: every step after it is skipped.

    plan: the task that has left a PLAN. drill: whether nobody is asked; refused unless policies.yaml allows it.
    """

    template_fields = (*ApprovalOperator.template_fields, "drill", "in_short")

    def __init__(self, *, subject: str, plan: str, drill: str | bool, **arguments: Any) -> None:
        super().__init__(
            subject=subject,
            body=f"{{{{ ti.xcom_pull('{plan}', key='{PLAN}') }}}}",
            response_timeout=load_config().policies.recovery.approval_timeout,
            ignore_downstream_trigger_rules=True,
            **{"retries": 0, **arguments},
        )
        self.drill = drill
        self.in_short = f"{{{{ ti.xcom_pull('{plan}', key='{IN_SHORT}') }}}}"

    def execute(self, context: Context) -> Any:
        if is_true(self.drill):
            if not load_config().policies.recovery.unattended_drills:
                raise ConfigError(
                    "This run was started as a drill, and drills without a person are not allowed here.",
                    "Start it without `drill`; or, where nothing is at stake, set `recovery.unattended_drills` in "
                    "policies.yaml.",
                )
            return {"chosen_options": [self.APPROVE], "responded_at": datetime.now(UTC), "responded_by_user": None}
        self.log.info("%s\n\n%s", self.subject, self.body)
        message = Message(
            severity="medium",
            headline=f"{self.subject}: waits for approval",
            lines=(self.in_short,),
            remedy="open it, read the plan under Required Actions, and approve or reject it.",
            link=run_url(context["ti"].dag_id, context["ti"].run_id),
        )
        deliver(message)
        return super().execute(context)


def approved_by(answer: Any) -> str:
    """answer: what ApprovePlan returned; None when it did not end well."""
    if not answer:
        return ""
    user = answer.get("responded_by_user")
    return str(user.get("name") or user.get("id")) if user else NOBODY
