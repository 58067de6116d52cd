"""# Which versions of a file are there?

**When:** a file is gone or wrong, and somebody asks since when.

**What:** `list_versions` writes to its log, and returns, the versions of a file with their dates, sizes and ids, and
when it was deleted; of a folder (a slash at its end) those of all files that are, or were, in it: at most 1,000.
Nothing is changed. `restore_files` takes a version by its id. A name that cannot be a key in S3 (a line break, a
tab, not UTF-8) is not in the list of its folder; it comes back with the folder nevertheless.

**When it fails:** the error says what is wrong with the path. Versions that no kept backup names are removed: look into
the off-site repository, too.
"""

from airflow.sdk import dag

from backup_playbook.forms.defaults import BY_BUTTON
from backup_playbook.forms.fields import repository_param
from backup_playbook.forms.files import path_param
from backup_playbook.forms.sources import source_param, sources
from backup_playbook.operators.files import ListFileVersions


@dag(
    schedule=None,
    doc_md=__doc__,
    params={
        "source": source_param(sources("files"), "Whose files?"),
        "path": path_param("A file, or a folder."),
        "repository": repository_param("Where to look."),
    },
    **BY_BUTTON,
)
def list_file_versions():
    ListFileVersions(
        task_id="list_versions",
        source="{{ params.source }}",
        path="{{ params.path or '' }}",
        repository="{{ params.repository }}",
    )


list_file_versions()
