"""# Recover deleted rows

**When:** some rows of a production database were deleted, or changed, by mistake: a user with all their orders, a day
of bookings. Nothing else of production is touched, and nobody has to stop working.

**What:** the rows, and their dependent rows, are found in the last backup before the deletion, and put back.

| step | what it does |
|---|---|
| `choose_backup` | asks production whether there can be such rows; the newest verified backup before the deletion |
| `create_scratch` | an empty database on the server of the source's restore test |
| `find_rows` | reads only objects that can hold the rows, follows foreign keys down, compares with production |
| `approve_plan` | waits for a person, who reads the preview under *Required Actions* |
| `import_rows` | one transaction: inserts, reads back, moves sequences forward; stores the script that undoes it |
| `verify_rows` | looks at production again |
| `document_result` | the report, in the repository; tells people |
| `drop_scratch` | removes the scratch, whatever happened |

The preview shows no values of columns that are named like credentials (passwords, tokens, keys); they come back as they
were. Rows that are equal are left alone. What stands in the way (a key that was used again, a unique value that is
taken, a parent that is gone, a column that was changed) is named with the choices there are, and nothing is overwritten
unless *On conflict* says so. Triggers do not fire unless asked; foreign keys are checked as always. References that the
deletion set to NULL stay so: the plan counts them. Keys and values of rows are in the plan that is approved and in the
undo script alone; logs, messages and the report have numbers.

A condition is understood by production's server, with the search_path and the settings of the database, and asked of
the rows as they were in the backup; the plan shows it. It is refused where it might mean other rows there: with a
subquery, a function that reads another table or is VOLATILE, a column of the system, or the name of the user.

**When it fails:** until `import_rows`, nothing was touched, and when that fails, nothing was written: correct what the
message names and clear the red task, or start again with another choice. To take an import back, run the script that
the report names with psql: rows that were changed since then stay.
"""

from airflow.sdk import dag

from backup_playbook.forms.deadlines import finished_within
from backup_playbook.forms.defaults import ALERTS, BY_BUTTON
from backup_playbook.forms.fields import (
    CHOSEN_BY_FORM,
    allow_unverified_param,
    backup_param,
    before_param,
    choice_param,
    drill_param,
    optional_text_param,
    repository_param,
)
from backup_playbook.forms.records import keys_param, on_conflict_param, table_param
from backup_playbook.forms.sources import longest_rto, source_param, sources
from backup_playbook.operators.approval import ApprovePlan
from backup_playbook.operators.records import (
    ChooseRecordsBackup,
    DocumentRecords,
    FindRecords,
    ImportRecords,
    VerifyRecords,
)
from backup_playbook.operators.restore import STAGING, CreateScratch, DropScratch

RECOVERABLE = sources("database", records="rows", recovery=True)
WANTED = {
    "table": "{{ params.table }}",
    "keys": "{{ params['keys'] | tojson }}",  # `params.keys` is a method of dictionaries
    "condition": "{{ params.where or '' }}",
    "children": "{{ params.children == 'restore' }}",
    "fire_triggers": "{{ params.triggers == 'fire' }}",
    "on_conflict": "{{ params.on_conflict }}",
}
"""The rows that the form asks for, as an argument of each step."""


@dag(
    schedule=None,
    doc_md=__doc__,
    deadline=finished_within(longest_rto(RECOVERABLE)),
    params={
        "source": source_param(RECOVERABLE, "Whose database? Those with `recovery` in sources.yaml."),
        "table": table_param(),
        "keys": keys_param(),
        "where": optional_text_param(
            "Or a condition",
            "On its columns in the backup, as in SQL after WHERE, without subqueries. Instead of keys.",
        ),
        "deleted_at": before_param("When were they deleted?"),
        "backup": backup_param(),
        "repository": repository_param("Which copy of the backup is read."),
        "allow_unverified": allow_unverified_param(),
        "children": choice_param("Children", "Dependent rows that were deleted too, to any depth.", "restore", "skip"),
        "on_conflict": on_conflict_param("rows"),
        "triggers": choice_param("Triggers", "Whether those of the tables fire for the rows.", "off", "fire"),
        "drill": drill_param(),
    },
    **BY_BUTTON,
    **ALERTS,
)
def recover_deleted_rows():
    chosen = ChooseRecordsBackup(task_id="choose_backup", before="{{ params.deleted_at }}", **CHOSEN_BY_FORM, **WANTED)
    scratch = CreateScratch(task_id="create_scratch", handoff=chosen.output, place=STAGING).as_setup()
    found = FindRecords(task_id="find_rows", handoff=scratch.output, **WANTED)
    approved = ApprovePlan(
        task_id="approve_plan",
        subject="Recovery of rows of {{ params.source }}",
        plan=found,
        asked=chosen,
        drill="{{ params.drill }}",
    )
    imported = ImportRecords(task_id="import_rows", handoff=found.output, approval=approved.output, **WANTED)
    verified = VerifyRecords(task_id="verify_rows", handoff=found.output, **WANTED)
    dropped = DropScratch(task_id="drop_scratch", handoff=scratch.output, place=STAGING)
    documented = DocumentRecords(
        task_id="document_result",
        source="{{ params.source }}",
        steps=[chosen, scratch, found, approved, imported, verified],
    )
    found >> approved >> imported >> verified >> [documented, dropped]
    dropped.as_teardown(setups=scratch, on_failure_fail_dagrun=True)


recover_deleted_rows()
