"""The guard between the scan and the sync of files: a person agrees to unusual losses."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context

from backup_playbook.config import load_config
from backup_playbook.core.errors import GuardError
from backup_playbook.core.markdown import cell
from backup_playbook.core.progress import human_seconds
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import run_url
from backup_playbook.notifiers.slack import deliver
from backup_playbook.operators.approval import MARK, answer_to, by_nobody, mark_of, marked
from backup_playbook.operators.base import HandoffOperator
from backup_playbook.operators.files import NO_BACKUP
from backup_playbook.operators.handoffs import Scanned

_REMEDY = (
    "Find out what became of the files: a mount that is gone, rights that were taken, a deployment, somebody's script. "
    "Every backup still has them: restore_files brings them back. If it was meant, start a new run for this source and "
    "approve."
)


class GuardDeletions(HandoffOperator[Scanned], ApprovalOperator):
    """Ask a person when more is lost than `delete_guard` of the source allows. Returns the answer.

    Rejected, or not answered in time: it fails, nothing is deleted, and there is no new backup.
    """

    means: ClassVar[str] = NO_BACKUP
    carries = False
    template_fields = (*ApprovalOperator.template_fields, "given")
    model = Scanned

    def __init__(self, **arguments: Any) -> None:
        super().__init__(
            subject="Files are gone, rewritten or unreadable",
            response_timeout=load_config().policies.recovery.approval_timeout,
            **{"retries": 0, **arguments},
        )

    @property
    def mark(self) -> str:
        """The mark of the scan, which an answer belongs to."""
        return mark_of(self.handoff.as_json())

    def execute(self, context: Context) -> Any:
        """Ask, where somebody is to be asked."""
        found = self.handoff
        if not found.stop:
            return {**by_nobody(self.APPROVE), MARK: self.mark}
        self.options = [marked(self.APPROVE, self.mark), self.REJECT]
        self.subject = f"{self.source}: {found.stop}"
        self.body = (
            f"**{found.stop}**\n\nNo longer there, the first of them: "
            f"{', '.join(map(cell, found.gone)) or '-'}\n\nThe run would {found.in_short} paths.\n\n"
            "*Approve*: the backup follows. What is gone leaves the current state, what was rewritten is replaced "
            "there, and of what cannot be read it keeps what it has; older backups keep all."
            "\n\n*Reject*: nothing is changed, and there is no new backup."
        )
        self.log.warning("%s", found.stop)
        message = Message(
            severity="high",
            headline=f"{self.source}: files are gone, rewritten or unreadable; the backup waits for approval",
            lines=(found.stop,),
            remedy="look at the files; then open the run, and approve or reject under Required Actions.",
            link=run_url(context["ti"].dag_id, context["ti"].run_id),
        )
        deliver(message)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the answer. Raises GuardError for a rejection, ApprovalError for an answer to another scan."""
        if event.get("chosen_options") == [self.REJECT]:
            raise GuardError(
                f"A person refused the losses of {self.source}: {self.handoff.stop} Nothing was deleted.", _REMEDY
            )
        if "error" in event:
            self.process_trigger_event_error(event)
        self.options = [marked(self.APPROVE, self.mark), self.REJECT]
        option = answer_to(self.subject, event, [self.APPROVE], self.mark)
        answer = HITLOperator.execute_complete(self, context, event)
        return {**answer, "chosen_options": [option], MARK: self.mark}

    def process_trigger_event_error(self, event: dict[str, Any]) -> None:
        """Raise GuardError for a timeout."""
        if event["error_type"] == "timeout" and self.response_timeout:
            waited = human_seconds(self.response_timeout.total_seconds())
            raise GuardError(f"Nobody has answered within {waited}: {self.handoff.stop} Nothing was deleted.", _REMEDY)
        super().process_trigger_event_error(event)
