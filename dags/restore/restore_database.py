"""# Restore Postgres

**When:** by the button, when a database is needed as it was: beside the live one to look something up, on staging to
try something, or in the place of production after a loss. When production is *wrong*, `recover_corrupted_database`
asks the better questions; for a few deleted rows there is `recover_deleted_rows`.

**What:** staging first. Whatever the target is, the backup is restored on a server that is not production, proven equal
byte for byte, and tried by the application's checks.

| target | then |
|---|---|
| `new_database` | the copy stays there under the name that you give |
| `staging` | the copy stays there as `<name>__restored_<time>` |
| `production` | the copy is dropped; a person approves; the same beside the live database, which is then exchanged |

`only` restores a part: all definitions, but only the rows of these schemas and tables. Foreign keys that could not hold
are left out, materialised views stay empty, and the application's checks are skipped. Not for production.

`leave_out` goes on without a constraint that the rows violate, or what else the error of a restore named; plan, proof
and report say so.

| step | what it does |
|---|---|
| `choose_backup` | the backup with this id, or the newest; with `before`, the newest that was taken before then |
| `plan_restore` | refuses what makes no sense; writes the plan: which backup, what is touched, how long, how to undo |
| `create_scratch`, `restore`, `prove`, `run_application_checks` | on staging; later again beside production |
| `branch_on_target` | which of the two ways it goes on; the other one is skipped |
| `keep_copy` | gives the copy its name; nothing sweeps it any more |
| `present_plan` | plan and what staging has shown, for the person who approves |
| `approve_plan` | waits for a person, who reads it under *Required Actions* |
| `switch_maintenance_on`, `promote_copy`, `switch_maintenance_off` | exchange the live database and the copy |
| `document_restore` | the report, in the repository; evidence beside the backup; tells people |
| `drop_scratch` | removes the copy if it was not kept or promoted |

A new database is undone with `DROP DATABASE`, which the report spells out; what was production stays as
`<name>__quarantine_<time>`: `rollback_promotion` brings it back.

**When it fails:** nothing live was touched before `promote_copy`, and the message says what is live after it. Correct
what the red task names and clear it, or start a new run. When the backup is damaged, take the off-site copy
(*Repository*: offsite) or an older backup.
"""

from airflow.sdk import dag, task_group

from backup_playbook.dag_parts.approval import ApprovePlan
from backup_playbook.dag_parts.deadlines import finished_within
from backup_playbook.dag_parts.defaults import ALERTS, AT_ONCE, BY_BUTTON
from backup_playbook.dag_parts.full_restore import (
    branch_on_target,
    name_param,
    only_param,
    server_param,
    target_param,
)
from backup_playbook.dag_parts.recovery_form import (
    CHOSEN_BY_FORM,
    allow_unverified_param,
    backup_param,
    before_param,
    drill_param,
    leave_out_param,
    longest_rto,
    repository_param,
    source_param,
)
from backup_playbook.dag_parts.sources import sources_of
from backup_playbook.operators.assessment import RunApplicationChecks
from backup_playbook.operators.full_restore import DocumentRestore, KeepCopy, PlanRestore, PresentPlan
from backup_playbook.operators.recovery import (
    CheckCopy,
    CreateCopy,
    DropCopy,
    PromoteCopy,
    ProveCopy,
    RestoreCopy,
    SwitchMaintenanceOff,
    SwitchMaintenanceOn,
)
from backup_playbook.operators.restore import ChooseBackup, CreateScratch, DropScratch, ProveRestore, RestoreBackup


@dag(
    schedule=None,
    doc_md=__doc__,
    deadline=finished_within(longest_rto(sources_of("postgres"))),
    params={
        "source": source_param(sources_of("postgres")),
        "backup": backup_param(),
        "before": before_param(),
        "repository": repository_param(),
        "target": target_param(),
        "database": name_param(),
        "server": server_param("postgres"),
        "only": only_param(),
        "leave_out": leave_out_param(),
        "allow_unverified": allow_unverified_param(),
        "drill": drill_param(),
    },
    **BY_BUTTON,
    **ALERTS,
)
def restore_postgres():
    chosen = ChooseBackup(
        task_id="choose_backup",
        before="{{ params.before }}",
        **CHOSEN_BY_FORM,
    )
    planned = PlanRestore(
        task_id="plan_restore", backup=chosen.output, allow_unverified="{{ params.allow_unverified }}"
    )
    branch = branch_on_target()

    @task_group
    def staging():
        scratch = CreateScratch(task_id="create_scratch", backup=planned.output).as_setup()
        restored = RestoreBackup(task_id="restore", backup=scratch.output)
        proven = ProveRestore(task_id="prove", backup=restored.output)
        checked = RunApplicationChecks(task_id="run_application_checks", backup=proven.output, retries=0)
        kept = KeepCopy(task_id="keep_copy", backup=proven.output)
        dropped = DropScratch(task_id="drop_scratch", backup=scratch.output)
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
        checked = CheckCopy(task_id="run_application_checks", backup=proven.output, retries=0)
        refused_users = SwitchMaintenanceOn(
            task_id="switch_maintenance_on", backup=planned.output, approval=approved.output
        )
        promoted = PromoteCopy(task_id="promote_copy", backup=checked.output, approval=approved.output, **AT_ONCE)
        served_users = SwitchMaintenanceOff(
            task_id="switch_maintenance_off", backup=planned.output, trigger_rule="all_done"
        )
        dropped = DropCopy(task_id="drop_scratch", backup=scratch.output)
        branch >> presented >> approved >> scratch
        checked >> refused_users >> promoted >> [served_users, dropped]
        dropped.as_teardown(setups=scratch, on_failure_fail_dagrun=True)
        return served_users

    documented = DocumentRestore(
        task_id="document_restore", source="{{ params.source }}", tested=chosen.output, trigger_rule="all_done"
    )
    [staging(), production()] >> documented


restore_postgres()
