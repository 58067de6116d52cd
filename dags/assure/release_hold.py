"""# Release a hold

**When:** a backup was kept with *Hold*, and nobody needs it any more.

**What:** `release_hold` writes beside the backup, in every repository that holds it, that it is released: who, why and
in which run. Nothing is removed now. From the next nightly run on, retention treats it as any other backup: it stays as
long as a rule keeps it.

**When it fails:** the error says that this backup is not held, or which repository did not answer. Nothing is lost by
clearing the task.
"""

from airflow.sdk import dag

from backup_playbook.forms.defaults import ALERTS, BY_BUTTON
from backup_playbook.forms.fields import backup_id_param, optional_text_param
from backup_playbook.forms.sources import source_param, sources
from backup_playbook.operators.retention import ReleaseHold


@dag(
    schedule=None,
    doc_md=__doc__,
    params={
        "source": source_param(sources(), "Whose backup?"),
        "backup": backup_id_param(),
        "reason": optional_text_param("Reason", "Why it is not needed any more: stored beside the backup."),
    },
    **{**BY_BUTTON, "tags": ["assure"]},
    **ALERTS,
)
def release_hold():
    ReleaseHold(
        task_id="release_hold",
        source="{{ params.source }}",
        backup="{{ params.backup }}",
        reason="{{ params.reason or '' }}",
    )


release_hold()
