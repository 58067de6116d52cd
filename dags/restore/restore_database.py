"""# Restore a database

**When:** a database is needed as it was: side by side with the live one to look something up, on staging to try
something, or in place of production after a loss. When production is *wrong*, `recover_corrupted_database` asks the
better questions; for a few deleted rows or documents there are `recover_deleted_rows` and `recover_deleted_documents`.

**What:** staging first. Whatever the target is, the backup is restored on a server that is not production, proven equal
byte for byte, and tried by the application's checks. The source decides which engine does it.

| target | then |
|---|---|
| `new_database` | the copy stays there under the name that you give |
| `staging` | the copy stays there as `<name>__restored_<time>` |
| `production` | the copy is dropped; a person approves; another one is made beside production, which it then replaces |

`only` restores a part: all definitions, but only the rows of these schemas and tables. Foreign keys that could not hold
are left out, materialised views stay empty, and the application's checks are skipped. Not for production.

`leave_out` goes on without a constraint that the rows violate, or what else the error of a restore named; plan, proof
and report say so. Both are for Postgres: a backup of MongoDB is restored as a whole.

| step | what it does |
|---|---|
| `choose_backup` | the backup with this id, or the newest; with `before`, the newest that was taken before then |
| `plan_restore` | refuses what makes no sense; writes the plan: which backup, what is touched, how long, how to undo |
| `create_scratch`, `restore`, `prove`, `run_application_checks` | on staging; later again beside production |
| `branch_on_target` | which of the two ways it goes on; the other one is skipped |
| `keep_copy` | gives the copy its name; nothing sweeps it any more |
| `present_plan` | plan and what staging has shown, for the person who approves |
| `approve_plan` | waits for a person, who reads it under *Required Actions* |
| `switch_maintenance_on`, `promote_copy`, `switch_maintenance_off` | exchange production and the copy |
| `document_restore` | the report, in the repository; evidence beside the backup; tells people |
| `drop_scratch` | removes the copy if it was not kept or promoted |

The report spells out the statement that drops a new database. What was production stays as
`<name>__quarantine_<time>`: `rollback_promotion` brings it back.

**MongoDB** renames no databases, and collections only within one. So the copy that goes live is made in the live
database, as `scratch_<source>_<id>.<collection>`, and proven there; then each collection is renamed to
`<name>__quarantine_<time>.<collection>`, and that of the copy takes its name. One rename is atomic, all of them
together are not: give the source a maintenance mode, or stop its application. What clients write in the moment of a
rename is kept as `<name>__late_<time>.<collection>`. Backups leave all of these out. When an exchange has to be taken
back half-way, what was written meanwhile to collections of the copy goes with the copy. No application can be sent to
such a copy: its checks run on staging alone. Time series, sharded clusters and system collections cannot be exchanged:
restore these into a new database. Users and roles are in the backup, and no restore writes them.

**When it fails:** nothing live was touched before `promote_copy`, and the message says what is live after it. A killed
exchange is completed by its next try, or taken back by `switch_maintenance_off`. Correct what the red task names and
clear it, or start a new run. When the backup is damaged, take the off-site copy (*Repository*: offsite) or an older
backup.
"""

from airflow.sdk import TaskGroup, dag

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
from backup_playbook.forms.restore import name_param, only_param, server_param, target_param
from backup_playbook.forms.sources import longest_rto, source_param, sources
from backup_playbook.operators.approval import ApprovePlan
from backup_playbook.operators.checks import RunApplicationChecks
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.full_restore import BranchOnTarget, PlanRestore, PresentPlan
from backup_playbook.operators.recovery import PromoteCopy, SwitchMaintenanceOff, SwitchMaintenanceOn
from backup_playbook.operators.restore import (
    PRODUCTION,
    STAGING,
    CreateScratch,
    DropScratch,
    KeepCopy,
    ProveScratch,
    RestoreScratch,
)
from backup_playbook.operators.restore_report import DocumentRestore

DATABASES = sources("database")


@dag(
    schedule=None,
    doc_md=__doc__,
    deadline=finished_within(longest_rto(DATABASES)),
    params={
        "source": source_param(DATABASES, "Whose database?"),
        "backup": backup_param(),
        "before": before_param(),
        "repository": repository_param(),
        "target": target_param(),
        "database": name_param(),
        "server": server_param(),
        "only": only_param(),
        "leave_out": leave_out_param(),
        "allow_unverified": allow_unverified_param(),
        "drill": drill_param(),
    },
    **BY_BUTTON,
    **ALERTS,
)
def restore_database():
    chosen = ChooseBackup(task_id="choose_backup", before="{{ params.before }}", **CHOSEN_BY_FORM)
    planned = PlanRestore(
        task_id="plan_restore",
        handoff=chosen.output,
        target="{{ params.target }}",
        database="{{ params.database }}",
        server="{{ params.server }}",
        only="{{ params.only | tojson }}",
        leave_out="{{ params.leave_out | tojson }}",
    )

    with TaskGroup("staging"):
        staged = CreateScratch(task_id="create_scratch", handoff=planned.output, place=STAGING).as_setup()
        restored = RestoreScratch(task_id="restore", handoff=staged.output, place=STAGING)
        proven = ProveScratch(task_id="prove", handoff=restored.output, place=STAGING)
        checked = RunApplicationChecks(task_id="run_application_checks", handoff=proven.output, place=STAGING)
        kept = KeepCopy(task_id="keep_copy", handoff=proven.output, place=STAGING)
        dropped = DropScratch(task_id="drop_scratch", handoff=staged.output, place=STAGING)
        kept >> dropped.as_teardown(setups=staged, on_failure_fail_dagrun=True)

    with TaskGroup("production", prefix_group_id=False):
        presented = PresentPlan(
            task_id="present_plan", handoff=planned.output, planned=planned, staged=proven.output, checked=checked
        )
        approved = ApprovePlan(
            task_id="approve_plan",
            subject="Restore of {{ params.source }} to production",
            plan=presented,
            asked=chosen,
            drill="{{ params.drill }}",
        )
        answer = approved.output
        copy = CreateScratch(
            task_id="create_scratch", handoff=approved.chosen, place=PRODUCTION, approval=answer
        ).as_setup()
        filled = RestoreScratch(task_id="restore", handoff=copy.output, place=PRODUCTION)
        copied = ProveScratch(task_id="prove", handoff=filled.output, place=PRODUCTION)
        tried = RunApplicationChecks(task_id="run_application_checks", handoff=copied.output, place=PRODUCTION)
        refused_users = SwitchMaintenanceOn(
            task_id="switch_maintenance_on",
            handoff=approved.chosen,
            approval=answer,
            trigger_rule="none_failed_min_one_success",
        )
        promoted = PromoteCopy(task_id="promote_copy", handoff=copied.output, approval=answer, **AT_ONCE)
        served_users = SwitchMaintenanceOff(
            task_id="switch_maintenance_off",
            handoff=planned.output,
            switched_on=refused_users,
            proven=copied.output,
            promoted=promoted.output,
        )
        dropped = DropScratch(task_id="drop_scratch", handoff=copy.output, place=PRODUCTION)
        presented >> approved
        tried >> refused_users >> promoted
        served_users >> dropped.as_teardown(setups=copy, on_failure_fail_dagrun=True)

    branch = BranchOnTarget(
        task_id="branch_on_target",
        target="{{ params.target }}",
        production=presented,
        elsewhere=kept,
        trigger_rule="none_failed",
    )
    checked >> branch >> [kept, presented]
    documented = DocumentRestore(
        task_id="document_restore",
        source="{{ params.source }}",
        steps=[
            chosen, planned, staged, restored, proven, checked, branch, kept, presented, approved, copy, filled, copied,
            tried, refused_users, promoted, served_users,
        ],
    )  # fmt: skip
    [kept, promoted, served_users] >> documented


restore_database()
