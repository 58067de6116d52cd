"""# Recover a corrupted database

**When:** the data of a production database is wrong or cannot be read: a migration that went wrong, a bug that wrote
nonsense, damaged pages. For a few deleted rows or documents there are `recover_deleted_rows` and
`recover_deleted_documents`, which stop nobody's work.

**What:** the last good backup is restored beside the live database and proven, then the two are exchanged. Nothing live
is touched before a person has read the plan and approved it.

| step | what it does |
|---|---|
| `choose_backup` | the newest verified backup that was taken before the corruption, or at all |
| `plan_recovery` | checks rights, space and other recoveries; writes the plan: what is lost, how long, how to undo |
| `approve_plan` | waits for a person, who reads the plan under *Required Actions*; without a time, offers a choice |
| `switch_maintenance_on` | the application refuses its users, where `recovery.maintenance` says how |
| `create_scratch` | an empty database on the production server; in MongoDB, a set of collections in it |
| `restore` | definitions, rows, indexes, owners and grants |
| `prove` | reads it all back: it must be equal to the backup |
| `run_application_checks` | what the application asks of the copy, in Postgres; commands must roll back their writes |
| `promote_copy` | the exchange: in Postgres one transaction, without connections; in MongoDB collection by collection |
| `switch_maintenance_off` | ends maintenance mode; after a failure only if production can be used |
| `collect_evidence` | for those who look for the cause: rows before and after, amcheck, the server's log |
| `document_recovery` | the report, in the repository; tells people |
| `drop_scratch` | removes the copy if it was not promoted |

What was live stays as `<name>__quarantine_<time>`, closed and unchanged: `rollback_promotion` brings it back in
seconds, `release_quarantine` drops it.

When rows of the backup violate a constraint, the error of `restore` names it: a new run may go on without it (*Leave
out*, for Postgres), which the plan says.

**When it fails:** the message says what is live. Until `promote_copy` it is the old database, untouched; a promotion
that died is taken forward by its next try, and `switch_maintenance_off` opens a database that it left closed. A copy
that was not promoted is gone: correct what the red task names and start a new run, which takes the source on as it
finds it. Two recoveries of one source never run at once.
"""

from airflow.sdk import dag

from backup_playbook.forms.deadlines import finished_within
from backup_playbook.forms.defaults import ALERTS, AT_ONCE, BY_BUTTON
from backup_playbook.forms.fields import (
    CHOSEN_BY_FORM,
    allow_unverified_param,
    backup_param,
    before_param,
    drill_param,
    leave_out_param,
    repository_param,
)
from backup_playbook.forms.sources import longest_rto, source_param, sources
from backup_playbook.operators.approval import ApprovePlan
from backup_playbook.operators.checks import RunApplicationChecks
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.recovery import (
    CollectEvidence,
    PlanRecovery,
    PromoteCopy,
    SwitchMaintenanceOff,
    SwitchMaintenanceOn,
)
from backup_playbook.operators.recovery_report import DocumentRecovery
from backup_playbook.operators.restore import PRODUCTION, CreateScratch, DropScratch, ProveScratch, RestoreScratch

RECOVERABLE = sources("database", recovery=True)


@dag(
    schedule=None,
    doc_md=__doc__,
    deadline=finished_within(longest_rto(RECOVERABLE)),
    params={
        "source": source_param(RECOVERABLE, "Whose database? Those with `recovery` in sources.yaml."),
        "corruption_time": before_param(
            "When was it corrupted?",
            "Empty, and no backup is named: the page of the approval shows what is in the newest backups, to choose "
            "from.",
        ),
        "backup": backup_param(),
        "repository": repository_param(),
        "allow_unverified": allow_unverified_param(),
        "leave_out": leave_out_param(),
        "drill": drill_param(),
    },
    **BY_BUTTON,
    **ALERTS,
)
def recover_corrupted_database():
    chosen = ChooseBackup(task_id="choose_backup", before="{{ params.corruption_time }}", **CHOSEN_BY_FORM)
    planned = PlanRecovery(
        task_id="plan_recovery",
        handoff=chosen.output,
        choose="{{ not params.corruption_time and params.backup == 'latest' }}",
        allow_unverified="{{ params.allow_unverified }}",
        leave_out="{{ params.leave_out | tojson }}",
    )
    approved = ApprovePlan(
        task_id="approve_plan",
        subject="Recovery of {{ params.source }}",
        plan=planned,
        asked=chosen,
        drill="{{ params.drill }}",
    )
    answer = approved.output
    refused_users = SwitchMaintenanceOn(task_id="switch_maintenance_on", handoff=approved.chosen, approval=answer)
    scratch = CreateScratch(
        task_id="create_scratch", handoff=approved.chosen, place=PRODUCTION, approval=answer
    ).as_setup()
    restored = RestoreScratch(task_id="restore", handoff=scratch.output, place=PRODUCTION)
    proven = ProveScratch(task_id="prove", handoff=restored.output, place=PRODUCTION)
    checked = RunApplicationChecks(task_id="run_application_checks", handoff=proven.output, place=PRODUCTION)
    promoted = PromoteCopy(
        task_id="promote_copy",
        handoff=proven.output,
        approval=answer,
        trigger_rule="none_failed_min_one_success",
        **AT_ONCE,
    )
    served_users = SwitchMaintenanceOff(
        task_id="switch_maintenance_off",
        handoff=planned.output,
        switched_on=refused_users,
        proven=proven.output,
        promoted=promoted.output,
    )
    evidence = CollectEvidence(task_id="collect_evidence", handoff=promoted.output)
    dropped = DropScratch(task_id="drop_scratch", handoff=scratch.output, place=PRODUCTION)
    documented = DocumentRecovery(
        task_id="document_recovery",
        source="{{ params.source }}",
        steps=[
            chosen, planned, approved, refused_users, scratch, restored, proven, checked, promoted, served_users,
            evidence,
        ],
    )  # fmt: skip
    planned >> approved
    refused_users >> scratch
    checked >> promoted
    served_users >> dropped.as_teardown(setups=scratch, on_failure_fail_dagrun=True)
    [served_users, evidence] >> documented


recover_corrupted_database()
