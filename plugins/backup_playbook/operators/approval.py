"""The approval: a person reads what is going to happen, and approves it. There is no default, and a timeout fails.

An answer belongs to the plan that was shown. Airflow 3.3.2 keeps the first page of a run: when the plan is made anew,
it still shows the old one. So each option carries the mark of its plan, and an answer to another plan is refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import BaseOperator, Context, XComArg

from backup_playbook.config import load_config
from backup_playbook.core.errors import ConfigError, PlaybookError
from backup_playbook.core.progress import human_seconds
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.base import is_true
from backup_playbook.operators.report import leave_facts

ASKED = "asked"
"""XCom of the choice of a backup: how the form was understood."""
PLAN, BEHIND, IN_SHORT, CHOICES = "plan", "behind", "in_short", "choices"
"""XComs of the task that plans; see `leave_plan`."""
CHOSEN = "chosen"
"""XCom of the approval: what stands in CHOICES for the answer; in what it returns, too."""
MARK = "mark"
"""In what the approval returns: of the plan that was approved."""
APPROVE = ApprovalOperator.APPROVE
NOBODY = "nobody (a drill)"


log = logging.getLogger(__name__)


class ApprovalError(PlaybookError):
    """Nobody has answered in time, or not about what would be done now."""


def leave_plan(
    context: Context, plan: str, in_short: str, behind: Any = None, choices: Mapping[str, Any] | None = None
) -> None:
    """Leave what will happen for the person who approves it.

    plan: Markdown. in_short: a sentence, for messages. behind: what stands behind the plan and is too much to show; an
    answer belongs to it, too. choices: where the answer decides what the later steps do, what they are given by option;
    without it there is one option, APPROVE.
    """
    log.info("%s", in_short)
    for key, value in ((PLAN, plan), (IN_SHORT, in_short), (BEHIND, behind), (CHOICES, choices)):
        context["ti"].xcom_push(key, value)


_NEW_RUN = "Start a new run: it looks again, and asks again."


def mark_of(shown: Any) -> str:
    """Return six digits that stand for what is shown to a person."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode()).hexdigest()[:6]


def marked(option: str, mark: str) -> str:
    """Return an option as it is offered."""
    return f"{option} (plan {mark})"


def answer_to(subject: str, event: Mapping[str, Any], options: Sequence[str], mark: str) -> str:
    """Return the option that was chosen. Raises ApprovalError for an answer to another plan."""
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
            "Nobody has approved this: its approval has no answer. A task that is marked as successful manually is "
            "none. Nothing was touched.",
            f"{_NEW_RUN} Answer it under Required Actions.",
        )
    if answer.get(MARK) != _mark(instance, answer.get(PLAN, "")):
        raise ApprovalError("The plan was made anew after it had been approved. Nothing was touched.", f"{_NEW_RUN}")


def _mark(instance: Any, plan: str) -> str:
    """Return the mark of what a task has planned last."""
    return mark_of([instance.xcom_pull(plan, key=key) for key in (PLAN, CHOICES, BEHIND)])


class ApprovePlan(ApprovalOperator):
    """Show the plan, and tell people that it waits. Rejected: the steps that it guards are skipped.

    What can be chosen is known when it runs; Airflow's operator fixes its options when the DAG is read.

    :param subject: what is approved, for people.
    :param plan: the operator that leaves the plan.
    :param asked: the operator that says how the form was understood, where there is one.
    :param drill: whether nobody is asked; refused unless policies.yaml allows it.
    :param needed: False: nothing live is touched, and nobody is asked.
    """

    template_fields = (*ApprovalOperator.template_fields, "drill", "needed", "in_short")

    def __init__(
        self,
        *,
        subject: str,
        plan: BaseOperator,
        drill: str | bool,
        asked: BaseOperator | None = None,
        needed: str | bool = True,
        **arguments: Any,
    ) -> None:
        understood = f"{{{{ ti.xcom_pull('{asked.task_id}', key='{ASKED}') or '' }}}}\n\n" if asked else ""
        super().__init__(
            subject=subject,
            body=f"{understood}{{{{ ti.xcom_pull('{plan.task_id}', key='{PLAN}') }}}}",
            response_timeout=load_config().policies.recovery.approval_timeout,
            **{"retries": 0, **arguments},
        )
        self.plan = plan.task_id
        self.drill = drill
        self.needed = needed
        self.in_short = f"{{{{ ti.xcom_pull('{self.plan}', key='{IN_SHORT}') }}}}"

    @property
    def chosen(self) -> XComArg:
        """The hand-off that belongs to the answer: of `choices` of `leave_plan`."""
        return XComArg(self, CHOSEN)

    def execute(self, context: Context) -> Any:
        """Ask, unless nobody is to be asked."""
        if not is_true(self.needed):
            return by_nobody(APPROVE)
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
        """Take the answer. Raises ApprovalError for one to another plan, and when nobody has answered in time."""
        self._offer(context)
        if event.get("chosen_options") == [self.REJECT]:
            leave_facts(context, rejected_by=_name_of(event.get("responded_by_user")))
            return super().execute_complete(context, event)  # which skips the steps that it guards
        if "error" in event:
            self.process_trigger_event_error(event)
        option = answer_to(self.subject, event, list(self._offer(context)), _mark(context["ti"], self.plan))
        return self._take(context, HITLOperator.execute_complete(self, context, event), option)

    def process_trigger_event_error(self, event: dict[str, Any]) -> None:
        """Raise ApprovalError for a timeout."""
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
        answer = {**answer, "chosen_options": [option], **known}
        answered = answer["responded_at"]
        at = answered if isinstance(answered, str) else answered.isoformat()
        leave_facts(context, approved_by=approved_by(answer), approved_at=at, handoff=chosen)
        return answer


def by_nobody(option: str) -> dict[str, Any]:
    """Return the answer of a step that has asked nobody."""
    return {"chosen_options": [option], "responded_at": datetime.now(UTC), "responded_by_user": None}


def approved_by(answer: Mapping[str, Any]) -> str:
    """Say who has approved, and what was chosen. answer: what ApprovePlan returned."""
    name = _name_of(answer.get("responded_by_user"))
    chosen = answer["chosen_options"][0]
    return name if chosen == APPROVE else f"{name}, who chose: {chosen}"


def _name_of(user: Mapping[str, Any] | None) -> str:
    return str(user.get("name") or user.get("id")) if user else NOBODY
