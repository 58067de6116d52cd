"""# Release a quarantine

**When:** a database that a recovery replaced is not needed any more.

**What:** it is dropped, for good.

| step | what it does |
|---|---|
| `plan_release` | finds the quarantine; refuses unless a backup that was taken later is proven by a restore |
| `approve_plan` | waits for a person |
| `drop_quarantine` | drops it |
| `document_result` | the report, in the repository; tells people |

**When it fails:** nothing was dropped. `plan_release` says which backup is missing: take one, let
`monthly_restore_test` prove it, and clear the task.
"""

from airflow.sdk import dag

from backup_playbook.forms.deadlines import finished_within
from backup_playbook.forms.defaults import ALERTS, BY_BUTTON
from backup_playbook.forms.fields import drill_param, quarantine_param
from backup_playbook.forms.sources import longest_rto, source_param, sources
from backup_playbook.operators.approval import ApprovePlan
from backup_playbook.operators.quarantine import DocumentQuarantine, DropQuarantine, PlanRelease

RECOVERABLE = sources("database", recovery=True)


@dag(
    schedule=None,
    doc_md=__doc__,
    deadline=finished_within(longest_rto(RECOVERABLE)),
    params={
        "source": source_param(RECOVERABLE, "Whose database?"),
        "quarantine": quarantine_param(),
        "drill": drill_param(),
    },
    **BY_BUTTON,
    **ALERTS,
)
def release_quarantine():
    planned = PlanRelease(
        task_id="plan_release", retries=0, source="{{ params.source }}", wanted="{{ params.quarantine }}"
    )
    approved = ApprovePlan(
        task_id="approve_plan",
        subject="Release of a quarantine of {{ params.source }}",
        plan=planned,
        drill="{{ params.drill }}",
    )
    done = DropQuarantine(task_id="drop_quarantine", handoff=planned.output, approval=approved.output)
    documented = DocumentQuarantine(
        task_id="document_result",
        source="{{ params.source }}",
        kind="release",
        steps=[planned, approved, done],
    )
    planned >> approved >> done >> documented


release_quarantine()
