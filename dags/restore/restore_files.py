"""# Restore files

**When:** files were deleted, overwritten or encrypted; or a directory is wanted as it was.

**What:** everything, a folder or a file, as it was in a backup: the newest one, the newest before a moment, one by its
id, or the one that has a file in a version that `list_file_versions` shows.

| step | what it does |
|---|---|
| `choose_backup` | finds the backup, and reads its manifest |
| `plan_restore` | says what will come back, and where to; in place, what is missing, replaced, or newer and stays |
| `approve_plan` | in place only: waits until a person has read the plan; rejected, nothing is touched |
| `restore` | brings the files back with times, modes, owners (as root) and links |
| `prove` | reads them all again: contents by SHA-256, links, times, modes, owners (as root) |
| `report_result` | writes the report and the evidence, and tells people where the files are |

*new_directory* makes one below the directory, or in the bucket, of a target in `targets.yaml`; it stays until you
remove it. In a bucket there are no links and attributes. *in_place* writes into the source itself: files
that are equal are not touched, and keep their mode, owner and time, as folders do that are there; those that were
written after the backup stay, unless `overwrite_newer` is set, and the message says how many; what is replaced is moved
to `.replaced-<backup id>/` there. Nothing is ever deleted. Whatever a backup names, nothing outside of the directory is
written, and no link is followed. Special files (fifo, socket, device) do not come back. A name that is not UTF-8 is
written as it is shown (`caf\\xe9`). Folders above a file that are gone come back as they were, too.

**When it fails:** the error of the red task says what happened. What cannot be brought back never stops the rest: a
content that is damaged, gone or archived, a file that is immutable, a key of a bucket that no directory can hold (`a`
beside `a/b`, `a//b`, a name of 300 bytes). `restore` fails when all else is there, and its log names each with a
command or a remedy. Restore these from the off-site copy (*Repository*), from an older backup, or, as to keys of a
bucket, one by one or into a bucket. To have all others proven without them, start a new run with these paths in *Leave
out*, and the backup by its id with *Allow an unverified backup*: one of which a content is damaged is rejected. A
restore in place can be cleared and run again as often as needed. A new directory is made anew then.

**What does not come back:** of files with several names (hard links) each becomes a file of its own. ACLs and other
extended attributes come back where this user and the file system can have them; without its ACL, a file's group gets no
more than it had with it. The message counts both. Objects of a bucket get their content type, headers, metadata and
tags back in a bucket; not their ACLs and storage classes. In a bucket, `prove` compares contents alone.
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
    optional_text_param,
    repository_param,
)
from backup_playbook.forms.files import (
    IN_PLACE,
    WANTED_BY_FORM,
    destination_param,
    files_target_param,
    leave_out_files_param,
    path_param,
)
from backup_playbook.forms.sources import longest_rto, source_param, sources
from backup_playbook.operators.approval import ApprovePlan
from backup_playbook.operators.file_restore import ChooseFilesBackup, PlanFilesRestore, ProveFiles, RestoreFiles
from backup_playbook.operators.file_restore_report import DocumentFilesRestore


@dag(
    schedule=None,
    doc_md=__doc__,
    deadline=finished_within(longest_rto(sources("files"))),
    params={
        "source": source_param(sources("files"), "Whose files?"),
        "path": path_param("A file, a folder, or empty for everything."),
        "before": before_param("When were they lost?"),
        "destination": destination_param(),
        "target": files_target_param(),
        "overwrite_newer": Param(
            False,
            type="boolean",
            title="Overwrite newer",
            description="In place: also replace files that were written after the backup.",
        ),
        "leave_out": leave_out_files_param(),
        "backup": backup_param(),
        "version": optional_text_param("Version", "Of one file, from list_file_versions; instead of a backup."),
        "repository": repository_param(),
        "allow_unverified": allow_unverified_param("Or one that is damaged: what is right in it comes back."),
        "drill": drill_param(),
    },
    **BY_BUTTON,
    **ALERTS,
)
def restore_files():
    chosen = ChooseFilesBackup(
        task_id="choose_backup",
        before="{{ params.before }}",
        path=WANTED_BY_FORM["path"],
        version="{{ params.version or '' }}",
        **CHOSEN_BY_FORM,
    )
    planned = PlanFilesRestore(task_id="plan_restore", handoff=chosen.output, **WANTED_BY_FORM)
    approved = ApprovePlan(
        task_id="approve_plan",
        subject="Restore of files of {{ params.source }} in place",
        plan=planned,
        asked=chosen,
        drill="{{ params.drill }}",
        needed=f"{{{{ params.destination == '{IN_PLACE}' }}}}",
    )
    restored = RestoreFiles(task_id="restore", handoff=planned.output, approval=approved.output, **WANTED_BY_FORM)
    proven = ProveFiles(task_id="prove", handoff=restored.output, **WANTED_BY_FORM)
    documented = DocumentFilesRestore(
        task_id="report_result",
        source="{{ params.source }}",
        steps=[chosen, planned, approved, restored, proven],
        target=WANTED_BY_FORM["target"],
        leave_out=WANTED_BY_FORM["leave_out"],
    )
    planned >> approved
    proven >> documented


restore_files()
