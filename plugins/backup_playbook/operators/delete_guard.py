"""Between the scan and the sync of files: a person agrees, when so many are lost, or rewritten, that something may be
wrong."""

from __future__ import annotations

from typing import Any, cast

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context, XComArg

from backup_playbook.config import load_config
from backup_playbook.core.errors import GuardError
from backup_playbook.core.markdown import cell
from backup_playbook.core.progress import human_seconds
from backup_playbook.dag_parts.approval import MARK, answer_to, by_nobody, mark_of, marked
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.files import ScannedFiles

_REMEDY = (
    "Find out what became of the files: a mount that is away, rights that were taken, a deployment, somebody's script. "
    "Every backup still has them: restore_files brings them back. If it was meant, start a new run for this source and "
    "approve."
)


class GuardDeletions(ApprovalOperator):
    """Asks nobody while the losses are within `delete_guard` of the source.

    Rejected, or not answered in time: it fails, nothing is deleted, and there is no new backup.
    """

    template_fields = (*ApprovalOperator.template_fields, "scanned")

    def __init__(self, *, scanned: ScannedFiles | XComArg, **arguments: Any) -> None:
        super().__init__(
            subject="Files are gone, rewritten or unreadable",
            response_timeout=load_config().policies.recovery.approval_timeout,
            **{"map_index_template": "{{ task.source }}", "retries": 0, **arguments},
        )
        self.scanned = scanned

    @property
    def found(self) -> ScannedFiles:
        return cast("ScannedFiles", self.scanned)

    @property
    def source(self) -> str:
        return self.found["source"]

    def execute(self, context: Context) -> Any:
        if not self.found["stop"]:
            return {**by_nobody(self.APPROVE), MARK: mark_of(self.found)}
        self.options = [marked(self.APPROVE, mark_of(self.found)), self.REJECT]
        self.subject = f"{self.source}: {self.found['stop']}"
        self.body = (
            f"**{self.found['stop']}**\n\nNo longer there, the first of them: "
            f"{', '.join(map(cell, self.found['gone'])) or '-'}\n\nThe run would {self.found['in_short']} paths.\n\n"
            "*Approve*: the backup follows. What is gone leaves the current state, what was rewritten is replaced "
            "there, and of what cannot be read it keeps what it has; older backups keep all."
            "\n\n*Reject*: nothing is changed, and there is no new backup."
        )
        self.log.warning("%s", self.found["stop"])
        message = Message(
            severity="high",
            headline=f"{self.source}: files are gone, rewritten or unreadable; the backup waits for approval",
            lines=(self.found["stop"],),
            remedy="look at the files; then open the run, and approve or reject under Required Actions.",
            link=run_url(context["ti"].dag_id, context["ti"].run_id),
        )
        deliver(message)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        if event.get("chosen_options") == [self.REJECT]:
            raise GuardError(
                f"A person refused the losses of {self.source}: {self.found['stop']} Nothing was deleted.", _REMEDY
            )
        if "error" in event:
            self.process_trigger_event_error(event)
        mark = mark_of(self.found)
        self.options = [marked(self.APPROVE, mark), self.REJECT]
        option = answer_to(self.subject, event, [self.APPROVE], mark)
        answer = HITLOperator.execute_complete(self, context, event)
        return {**answer, "chosen_options": [option], MARK: mark}

    def process_trigger_event_error(self, event: dict[str, Any]) -> None:
        if event["error_type"] == "timeout" and self.response_timeout:
            waited = human_seconds(self.response_timeout.total_seconds())
            raise GuardError(f"Nobody has answered within {waited}: {self.found['stop']} Nothing was deleted.", _REMEDY)
        super().process_trigger_event_error(event)
