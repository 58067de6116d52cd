"""A person reads what is going to happen, and approves it; there is no default, and a timeout fails.

An answer belongs to the plan that was shown. Airflow 3.3.2 keeps the first page of a run: when the plan is made anew,
it still shows the old one. So each option carries the mark of its plan, and an answer to another plan is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context

from backup_playbook.config import load_config
from backup_playbook.core.errors import ConfigError, PlaybookError
from backup_playbook.core.progress import human_seconds
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.base import is_true

PLAN = "plan"
"""XCom of the task that plans: what will happen, as Markdown."""
BEHIND = "behind"
"""XCom of the same task: what stands behind the plan and is too much to show; an answer belongs to it, too."""
IN_SHORT = "in_short"
"""XCom of the same task: the plan in a sentence, for the message."""
CHOICES = "choices"
"""XCom of the same task, where the answer decides on what the later steps do: what they are given, by option. Without
it there is one option, APPROVE."""
CHOSEN = "chosen"
"""XCom of the approval: what stands in CHOICES for the answer; in what it returns, too."""
MARK = "mark"
"""In what the approval returns: of the plan that was approved."""
APPROVE = ApprovalOperator.APPROVE
NOBODY = "nobody (a drill)"


class ApprovalError(PlaybookError):
    """Nobody has answered in time, or not about what would be done now."""


_NEW_RUN = "Start a new run: it looks again, and asks again."


def mark_of(shown: Any) -> str:
    """Six digits that stand for what is shown to a person."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode()).hexdigest()[:6]


def marked(option: str, mark: str) -> str:
    """How an option is offered."""
    return f"{option} (plan {mark})"


def answer_to(subject: str, event: Mapping[str, Any], options: Sequence[str], mark: str) -> str:
    """The option that was chosen. Raises ApprovalError for an answer to another plan."""
    [chosen] = event["chosen_options"]
    found = next((option for option in options if marked(option, mark) == chosen), "")
    if not found:
        raise ApprovalError(
            f"{subject}: {chosen!r} is no answer to the plan {mark}, which was made after that page. Nothing was "
            "touched.",
            f"{_NEW_RUN} This one can only show its first plan.",
        )
    return found


def require_answer(instance: Any, answer: Any) -> None:
    """Raise ApprovalError unless a person, or a drill, has approved the plan as it is now.

    answer: what the approval returned.
    """
    if not answer:
        raise ApprovalError(
            "Nobody has approved this: its approval has no answer. A task that is marked as successful by hand is "
            "none. Nothing was touched.",
            f"{_NEW_RUN} Answer it under Required Actions.",
        )
    if answer.get(MARK) != _mark(instance, answer.get(PLAN, "")):
        raise ApprovalError("The plan was made anew after it had been approved. Nothing was touched.", f"{_NEW_RUN}")


def _mark(instance: Any, plan: str) -> str:
    """Of what a task has planned last."""
    return mark_of([instance.xcom_pull(plan, key=key) for key in (PLAN, CHOICES, BEHIND)])


class ApprovePlan(ApprovalOperator):
    """Shows the plan, and tells people that it waits. Rejected: every step after it is skipped.

    What can be chosen is known when it runs; Airflow's operator fixes its options when the DAG is read.
    plan: the task that has left a PLAN. asked: the one that says how the form was understood.
    drill: whether nobody is asked; refused unless policies.yaml allows it.
    """

    template_fields = (*ApprovalOperator.template_fields, "drill", "in_short")

    def __init__(
        self, *, subject: str, plan: str, drill: str | bool, asked: str = "choose_backup", **arguments: Any
    ) -> None:
        super().__init__(
            subject=subject,
            body=f"{{{{ ti.xcom_pull('{asked}', key='asked') or '' }}}}\n\n"
            f"{{{{ ti.xcom_pull('{plan}', key='{PLAN}') }}}}",
            response_timeout=load_config().policies.recovery.approval_timeout,
            ignore_downstream_trigger_rules=True,
            **{"retries": 0, **arguments},
        )
        self.plan = plan
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
            option = next(iter(self._offer(context)))
            return self._take(context, by_nobody(option), option)
        self._offer(context)
        self.log.info("%s: %s", self.subject, self.in_short)  # who decides reads the plan; logs have no values of rows
        message = Message(
            severity="medium",
            headline=f"{self.subject}: waits for approval",
            lines=(self.in_short,),
            remedy=f"open it, read the plan under Required Actions, and answer: {', '.join(self.options)}.",
            link=run_url(context["ti"].dag_id, context["ti"].run_id),
        )
        deliver(message)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        self._offer(context)
        if event.get("chosen_options") == [self.REJECT]:
            return super().execute_complete(context, event)  # which skips the later steps
        if "error" in event:
            self.process_trigger_event_error(event)
        option = answer_to(self.subject, event, list(self._offer(context)), _mark(context["ti"], self.plan))
        return self._take(context, HITLOperator.execute_complete(self, context, event), option)

    def process_trigger_event_error(self, event: dict[str, Any]) -> None:
        if event["error_type"] == "timeout" and self.response_timeout:
            waited = human_seconds(self.response_timeout.total_seconds())
            raise ApprovalError(
                f"{self.subject}: nobody has approved it within {waited}. Nothing was touched.",
                f"{_NEW_RUN} policies.yaml sets the time, in `recovery.approval_timeout`.",
            )
        super().process_trigger_event_error(event)

    def _offer(self, context: Context) -> dict[str, Any]:
        choices: dict[str, Any] | None = context["ti"].xcom_pull(self.plan, key=CHOICES)
        choices = {APPROVE: None} if choices is None else choices
        mark = _mark(context["ti"], self.plan)
        self.options = [*(marked(option, mark) for option in choices), self.REJECT]
        return choices

    def _take(self, context: Context, answer: Any, option: str) -> Any:
        chosen = self._offer(context)[option]
        context["ti"].xcom_push(CHOSEN, chosen)
        known = {PLAN: self.plan, MARK: _mark(context["ti"], self.plan), CHOSEN: chosen}
        return {**answer, "chosen_options": [option], **known}


def by_nobody(option: str) -> dict[str, Any]:
    """The answer of a step that has asked nobody."""
    return {"chosen_options": [option], "responded_at": datetime.now(UTC), "responded_by_user": None}


def approved_by(answer: Any) -> str:
    """answer: what ApprovePlan returned; None when it did not end well."""
    if not answer:
        return ""
    user = answer.get("responded_by_user")
    name = str(user.get("name") or user.get("id")) if user else NOBODY
    chosen = answer["chosen_options"][0]
    return name if chosen == APPROVE else f"{name}, who chose: {chosen}"
