"""# What is in a backup?

**When:** somebody asks "was it in there?".

**What:** `choose_backup` finds the backup, and `list_contents` writes to its log, and returns, its tables with rows,
sizes and keys. With a table and keys, it reads the objects that can hold these rows, and returns them, without
the values of columns that are named like credentials; nothing is restored, and nothing is changed. Keys have to be
written as they are in the backup.

**When it fails:** the error of the red task names a table or a key that cannot be, or a backup that cannot be read.
"""

from airflow.sdk import dag

from backup_playbook.forms.defaults import BY_BUTTON
from backup_playbook.forms.fields import backup_param, repository_param
from backup_playbook.forms.records import keys_param, table_param
from backup_playbook.forms.sources import source_param, sources
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.contents import ListContents


@dag(
    schedule=None,
    doc_md=__doc__,
    params={
        "source": source_param(sources(records="rows"), "Whose database?"),
        "backup": backup_param(),
        "repository": repository_param("Which copy of the backup is read."),
        "table": table_param(""),
        "keys": keys_param(),
    },
    **BY_BUTTON,
)
def list_backup_contents():
    chosen = ChooseBackup(
        task_id="choose_backup",
        source="{{ params.source }}",
        backup="{{ params.backup }}",
        repository="{{ params.repository }}",
    )
    ListContents(
        task_id="list_contents",
        handoff=chosen.output,
        table="{{ params.table or '' }}",
        keys="{{ params['keys'] | tojson }}",  # `params.keys` is a method of dictionaries
    )


list_backup_contents()
