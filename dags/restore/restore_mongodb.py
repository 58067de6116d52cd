"""# Restore MongoDB

**When:** by the button, when a MongoDB database is needed as it was: beside the live one to look something up, on
staging to try something, or in the place of production after a loss. For a few deleted documents there is
`recover_deleted_documents`.

**What:** staging first. Whatever the target is, the backup is restored on a server that is not production, proven equal
byte for byte, and tried by the application's checks.

| target | then |
|---|---|
| `new_database` | the copy stays there under the name that you give |
| `staging` | the copy stays there as `<name>__restored_<time>` |
| `production` | the copy is dropped; a person approves; a copy is made in production and exchanged |

MongoDB renames no databases, and collections only within one. So the copy that goes live is made in the live database,
as `scratch_<source>_<id>.<collection>`, and proven there; then each collection is renamed to
`<name>__quarantine_<time>.<collection>`, and that of the copy takes its name. One rename is atomic, all of them
together are not: give the source a maintenance mode, or stop its application. What clients write in the moment of a
rename is kept as `<name>__late_<time>.<collection>`. Backups leave all of these out. When an exchange has to be taken
back half-way, what was written meanwhile to collections of the copy goes with the copy.

| step | what it does |
|---|---|
| `choose_backup` | the backup with this id, or the newest; with `before`, the newest that was taken before then |
| `plan_restore` | refuses what makes no sense; writes the plan: which backup, what is touched, how long, how to undo |
| `create_scratch`, `restore`, `prove`, `run_application_checks` | on staging; the first three again in production |
| `branch_on_target` | which of the two ways it goes on; the other one is skipped |
| `keep_copy` | it is no scratch any more; nothing sweeps it |
| `present_plan` | plan and what staging has shown, for the person who approves |
| `approve_plan` | waits for a person, who reads it under *Required Actions* |
| `switch_maintenance_on`, `promote_copy`, `switch_maintenance_off` | exchange the collections |
| `document_restore` | the report, in the repository; evidence beside the backup; tells people |
| `drop_scratch` | removes the copy if it was not kept or promoted |

`rollback_promotion` brings the quarantine back, with its views. Time series, sharded clusters and system collections
cannot be exchanged: restore these into a new database. Users and roles are in the backup, and no restore writes them.

**When it fails:** nothing live was touched before `promote_copy`, which takes back what it has begun, and says so; a
killed one is completed by its next try, or taken back by `switch_maintenance_off`. Correct what the red task names and
clear it, or start a new run. When the backup is damaged, take the off-site copy (*Repository*: offsite), or an older
backup.
"""

from airflow.sdk import dag, task_group

from backup_playbook.dag_parts.approval import ApprovePlan
from backup_playbook.dag_parts.deadlines import finished_within
from backup_playbook.dag_parts.defaults import ALERTS, AT_ONCE, BY_BUTTON
from backup_playbook.dag_parts.full_restore import (
    branch_on_target,
    name_param,
    server_param,
    target_param,
)
from backup_playbook.dag_parts.recovery_form import (
    CHOSEN_BY_FORM,
    allow_unverified_param,
    backup_param,
    before_param,
    drill_param,
    longest_rto,
    repository_param,
    source_param,
)
from backup_playbook.dag_parts.sources import sources_of
from backup_playbook.operators.assessment import RunApplicationChecks
from backup_playbook.operators.full_restore import DocumentRestore, PresentPlan
from backup_playbook.operators.mongodb_restore import CreateNamed, DropUnlessKept, KeepMongoCopy, PlanMongoRestore
from backup_playbook.operators.recovery import (
    CreateCopy,
    DropCopy,
    PromoteCopy,
    ProveCopy,
    RestoreCopy,
    SwitchMaintenanceOff,
    SwitchMaintenanceOn,
)
from backup_playbook.operators.restore import ChooseBackup, ProveRestore, RestoreBackup


@dag(
    schedule=None,
    doc_md=__doc__,
    deadline=finished_within(longest_rto(sources_of("mongodb"))),
    params={
        "source": source_param(sources_of("mongodb")),
        "backup": backup_param(),
        "before": before_param(),
        "repository": repository_param(),
        "target": target_param(),
        "database": name_param(),
        "server": server_param("mongodb"),
        "allow_unverified": allow_unverified_param(),
        "drill": drill_param(),
    },
    **BY_BUTTON,
    **ALERTS,
)
def restore_mongodb():
    chosen = ChooseBackup(
        task_id="choose_backup",
        before="{{ params.before }}",
        **CHOSEN_BY_FORM,
    )
    planned = PlanMongoRestore(
        task_id="plan_restore", backup=chosen.output, allow_unverified="{{ params.allow_unverified }}"
    )
    branch = branch_on_target()

    @task_group
    def staging():
        scratch = CreateNamed(task_id="create_scratch", backup=planned.output).as_setup()
        restored = RestoreBackup(task_id="restore", backup=scratch.output)
        proven = ProveRestore(task_id="prove", backup=restored.output)
        checked = RunApplicationChecks(task_id="run_application_checks", backup=proven.output, retries=0)
        kept = KeepMongoCopy(task_id="keep_copy", backup=proven.output)
        dropped = DropUnlessKept(task_id="drop_scratch", backup=scratch.output)
        checked >> branch >> kept >> dropped
        dropped.as_teardown(setups=scratch, on_failure_fail_dagrun=True)
        return kept

    @task_group(prefix_group_id=False)
    def production():
        presented = PresentPlan(task_id="present_plan", backup=planned.output)
        approved = ApprovePlan(
            task_id="approve_plan",
            subject="Restore of {{ params.source }} to production",
            plan="present_plan",
            drill="{{ params.drill }}",
        )
        scratch = CreateCopy(task_id="create_scratch", backup=presented.output, approval=approved.output).as_setup()
        restored = RestoreCopy(task_id="restore", backup=scratch.output)
        proven = ProveCopy(task_id="prove", backup=restored.output)
        refused_users = SwitchMaintenanceOn(
            task_id="switch_maintenance_on", backup=planned.output, approval=approved.output
        )
        promoted = PromoteCopy(task_id="promote_copy", backup=proven.output, approval=approved.output, **AT_ONCE)
        served_users = SwitchMaintenanceOff(
            task_id="switch_maintenance_off", backup=planned.output, trigger_rule="all_done"
        )
        dropped = DropCopy(task_id="drop_scratch", backup=scratch.output)
        branch >> presented >> approved >> scratch
        proven >> refused_users >> promoted >> served_users >> dropped
        dropped.as_teardown(setups=scratch, on_failure_fail_dagrun=True)
        return served_users

    documented = DocumentRestore(
        task_id="document_restore", source="{{ params.source }}", tested=chosen.output, trigger_rule="all_done"
    )
    [staging(), production()] >> documented


restore_mongodb()
