"""# Roll back a promotion

**When:** a recovery has replaced the live database by a restored one, and that was a mistake.

**What:** the quarantine and the live database are exchanged again: in Postgres with owners, grants and settings, in one
transaction; in MongoDB collection by collection, with the views, and documents expire again.

| step | what it does |
|---|---|
| `plan_rollback` | finds the quarantine; says how old it is, and what its return means |
| `approve_plan` | waits for a person |
| `bring_back_quarantine` | exchanges the two (Postgres: ends all connections first) |
| `document_result` | the report, in the repository; tells people |

What was live becomes a quarantine itself: run this again to take the rollback back.

**When it fails:** nothing is exchanged, and the live database accepts connections, unless the message says otherwise.
Correct what it names and clear the red task; it goes on where it was.
"""

from airflow.sdk import dag

from backup_playbook.forms.deadlines import finished_within
from backup_playbook.forms.defaults import ALERTS, AT_ONCE, BY_BUTTON
from backup_playbook.forms.fields import drill_param, quarantine_param
from backup_playbook.forms.sources import longest_rto, source_param, sources
from backup_playbook.operators.approval import ApprovePlan
from backup_playbook.operators.quarantine import BringBackQuarantine, DocumentQuarantine, PlanRollback

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
def rollback_promotion():
    planned = PlanRollback(
        task_id="plan_rollback", retries=0, source="{{ params.source }}", wanted="{{ params.quarantine }}"
    )
    approved = ApprovePlan(
        task_id="approve_plan",
        subject="Rollback of {{ params.source }}",
        plan=planned,
        drill="{{ params.drill }}",
    )
    done = BringBackQuarantine(
        task_id="bring_back_quarantine", handoff=planned.output, approval=approved.output, **AT_ONCE
    )
    documented = DocumentQuarantine(
        task_id="document_result",
        source="{{ params.source }}",
        kind="rollback",
        steps=[planned, approved, done],
    )
    planned >> approved >> done >> documented


rollback_promotion()
