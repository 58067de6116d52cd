"""# Which versions of a file are there?

**When:** by the button: a file is gone or wrong, and somebody asks since when.

**What:** `list_versions` writes to its log, and returns, the versions of a file with their dates, sizes and ids, and
when it was deleted; of a folder (a slash at its end) those of all files that are, or were, in it: at most 1,000.
Nothing is changed. `restore_files` takes a version by its id.

**When it fails:** the error says what is wrong with the path. Versions that no kept backup names are removed: look into
the off-site repository, too.
"""

from airflow.sdk import dag

from backup_playbook.dag_parts.defaults import BACKUP_DEFAULTS
from backup_playbook.dag_parts.file_restore import files_source_param, path_param
from backup_playbook.dag_parts.rows import choice_param
from backup_playbook.operators.file_restore import ListFileVersions


@dag(
    schedule=None,
    is_paused_upon_creation=False,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    default_args=BACKUP_DEFAULTS,
    tags=["restore"],
    params={
        "source": files_source_param(),
        "path": path_param("A file, or a folder with a slash at its end, relative to the source."),
        "repository": choice_param("Repository", "Where to look.", "primary", "offsite"),
    },
)
def list_file_versions():
    ListFileVersions(task_id="list_versions", source="{{ params.source }}")


list_file_versions()
