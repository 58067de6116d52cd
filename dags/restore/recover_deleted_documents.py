"""# Recover deleted documents

**When:** some documents of a MongoDB database were deleted, or changed, by mistake. Nothing else of production is
touched, and nobody has to stop working. Sources need a `recovery` in `sources.yaml`, whose user has the role
`readWrite`, and a restore test, on whose server documents are looked for.

**What:** the documents are found in the last backup before it, and put back.

| step | what it does |
|---|---|
| `choose_backup` | asks production whether there is such a collection; the newest verified backup before the deletion |
| `create_scratch` | an empty database on the server of the source's restore test |
| `find_documents` | reads only objects that can hold the documents, and compares these with production |
| `approve_plan` | waits for a person, who reads the preview under *Required Actions* |
| `import_documents` | stores what undoes it; writes each document only where production is as shown; reads it back |
| `verify_documents` | looks at production again |
| `document_result` | the report, in the repository; tells people |
| `drop_scratch` | removes the scratch, whatever happened |

Documents come back byte for byte, also what the preview does not show, for it is named like a credential (passwords,
tokens, keys). Those that are equal are left alone. What stands in the way (an `_id` with other
content, a unique value that is taken) is named with the choices there are, and nothing is overwritten unless *On
conflict* says so. MongoDB does not know which documents refer to each other: recover them collection by collection.
More than 256 MiB of documents, time series, and collections that are gone need a restore elsewhere.

**When it fails:** until `import_documents`, nothing was touched. There is no transaction: when a write fails, what was
written until then is taken back; when the worker dies, start again, and what is there already counts as equal. To take
an import back, fetch what the report names, and run it where Airflow runs; documents that were changed since then stay:

    MONGODB_URI=mongodb://... python -m backup_playbook.engines.mongodb.document_undo FILE
"""

from airflow.sdk import Param, dag

from backup_playbook.forms.deadlines import finished_within
from backup_playbook.forms.defaults import ALERTS, BY_BUTTON
from backup_playbook.forms.fields import (
    CHOSEN_BY_FORM,
    allow_unverified_param,
    backup_param,
    before_param,
    drill_param,
    optional_list_param,
    optional_text_param,
    repository_param,
)
from backup_playbook.forms.records import on_conflict_param
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

RECOVERABLE = sources("database", records="documents", recovery=True)
WANTED = {
    "table": "{{ params.collection }}",
    "keys": "{{ params.ids | tojson }}",
    "condition": "{{ params.query or '' }}",
    "on_conflict": "{{ params.on_conflict }}",
}
"""The documents that the form asks for, as an argument of each step."""


@dag(
    schedule=None,
    doc_md=__doc__,
    deadline=finished_within(longest_rto(RECOVERABLE)),
    params={
        "source": source_param(RECOVERABLE, "Whose database? Those with `recovery` in sources.yaml."),
        "collection": Param(
            type="string", title="Collection", minLength=1, description="Its name alone, without that of the database."
        ),
        "ids": optional_list_param(
            "Ids",
            "Values of `_id`, one a line: 24 hexadecimal digits, a number, or text. Others as extended JSON: "
            '`{"$uuid": "..."}`. A text that looks like a number or like JSON, in quotes: `"7"`.',
        ),
        "query": optional_text_param(
            "Or a query", 'As in find(), in extended JSON: `{"user": 7}`. Instead of ids; `{}` means all documents.'
        ),
        "deleted_at": before_param("When were they deleted?"),
        "backup": backup_param(),
        "repository": repository_param("Which copy of the backup is read."),
        "allow_unverified": allow_unverified_param(),
        "on_conflict": on_conflict_param("documents"),
        "drill": drill_param(),
    },
    **BY_BUTTON,
    **ALERTS,
)
def recover_deleted_documents():
    chosen = ChooseRecordsBackup(task_id="choose_backup", before="{{ params.deleted_at }}", **CHOSEN_BY_FORM, **WANTED)
    scratch = CreateScratch(task_id="create_scratch", handoff=chosen.output, place=STAGING).as_setup()
    found = FindRecords(task_id="find_documents", handoff=scratch.output, **WANTED)
    approved = ApprovePlan(
        task_id="approve_plan",
        subject="Recovery of documents of {{ params.source }}",
        plan=found,
        asked=chosen,
        drill="{{ params.drill }}",
    )
    imported = ImportRecords(task_id="import_documents", handoff=found.output, approval=approved.output, **WANTED)
    verified = VerifyRecords(task_id="verify_documents", handoff=found.output, **WANTED)
    dropped = DropScratch(task_id="drop_scratch", handoff=scratch.output, place=STAGING)
    documented = DocumentRecords(
        task_id="document_result",
        source="{{ params.source }}",
        steps=[chosen, scratch, found, approved, imported, verified],
    )
    found >> approved >> imported >> verified >> [documented, dropped]
    dropped.as_teardown(setups=scratch, on_failure_fail_dagrun=True)


recover_deleted_documents()
