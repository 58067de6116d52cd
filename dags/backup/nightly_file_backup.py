"""# Nightly file backup

**When:** 01:00 UTC, or as `file_backups` in policies.yaml says (`0 * * * *` is hourly); or manually.

**What:** for every source in `include/config/sources.yaml` whose engine is `files`, a directory or a bucket:

| step | what it does |
|---|---|
| `scan` | walks the tree beside the list of the previous backup: what is new, changed, renamed, gone |
| `guard` | asks a person when more is gone, empty or unreadable than `delete_guard` allows, or nearly all rewritten |
| `sync` | sends what is new, lets the store copy what was renamed, then marks what is gone as deleted |
| `seal` | writes the manifest: a point in time of the whole tree, every path with its S3 version |
| `verify` | all versions are there; those that are new are read back. Every `rehash_every` runs, all of them |
| `copy_offsite` | the same in the off-site repositories, with contents compared on their way |
| `verify_offsite` | the same verification of the copies |
| `prune` | backups that retention no longer keeps, then versions that no backup names any more |

The current state is under `current/<source>/` as plain files, as `aws s3 sync --delete` would leave it; `verify`
compares it, and the next run puts right what somebody else changed there. A file that is unchanged (size, inode, time,
and the time of its last change, which nobody can set back) is not read; every `rehash_every` runs all are. So a
`chmod -R` has all files read, and none sent. What was written to within the last minute is read again by the next run.
A file that seems renamed is read, too. The bucket must have versioning switched on. Files are not encrypted by us: give
the bucket a default encryption with SSE-KMS.

Kept with a file: mode, owner, times, extended attributes, ACLs and capabilities (not SELinux labels), and how many hard
links it has; with an object of a bucket: its headers, metadata and tags (as they were when it was read), not its own
ACL and storage class.

What cannot be backed up as it should does not stop the run; it is counted in the message, and named in the log of
`seal` and in the manifest: `changing` (written to at each of three tries: the last one is stored), `unreadable` (what
earlier backups stored is kept, and its attributes where they cannot be seen; of a directory, with all below it: an
archived object, too; the daily verification names it until it can be read), `special` (fifo, socket, device: not
restored), `nameless` (a key of a bucket that no directory can hold, such as `a//b`, `/x` or `a/../b`: not stored;
rename it), `only in buckets` (`a/b` beside `a`, a name longer than 255 bytes: stored, and restored into a bucket). The
message also says when a tree has no files at all, or when a file system below it is not mounted any more.

**When it fails:** open the red task; its error says what happened and what to do. `guard` waits under *Required
Actions*; rejected or not answered, nothing was deleted. Clear the red task when the cause is gone: a scan that is
cleared looks again. Nothing needs to be cleaned up: until `seal`, every file of every earlier backup is still there,
and what a run that was cut short left in the current state is used by the next one, or goes.

An older run never turns the current state back. Its `sync`, cleared after a newer backup was sealed, changes nothing
and says so; its `copy_offsite` makes the copy of that point in time, beside the current state of the newer one. After a
backup was rejected, or the newest manifest cannot be read, everything is uploaded anew; the guard still compares with
the newest tree that can be read.
"""

from datetime import timedelta

from airflow.sdk import dag, task_group

from backup_playbook.config import load_config
from backup_playbook.forms.deadlines import backed_up_in_time
from backup_playbook.forms.defaults import ALERTS, BACKUP_DEFAULTS
from backup_playbook.forms.schedules import every
from backup_playbook.forms.sources import backup_form, sources
from backup_playbook.operators.announcement import AnnounceBackups, ListSources
from backup_playbook.operators.backup import VERIFIED_BACKUPS, CopyOffsite, VerifyBackup
from backup_playbook.operators.delete_guard import GuardDeletions
from backup_playbook.operators.files import ScanFiles, SealFiles, SyncFiles
from backup_playbook.operators.retention import ApplyRetention


@dag(
    schedule=every(load_config().airflow.file_backups) if sources("files") else None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    deadline=backed_up_in_time(sources("files")),
    doc_md=__doc__,
    default_args=BACKUP_DEFAULTS,
    tags=["backup"],
    params=backup_form(sources("files")),
    **ALERTS,
)
def nightly_file_backup():
    steps = []

    @task_group
    def protect(source: str):
        scanned = ScanFiles(task_id="scan", source=source)
        guarded = GuardDeletions(task_id="guard", handoff=scanned.output)
        synced = SyncFiles(task_id="sync", handoff=scanned.output, guard=guarded.output)
        sealed = SealFiles(
            task_id="seal", handoff=synced.output, hold="{{ params.hold }}", reason="{{ params.reason or '' }}"
        )
        verified = VerifyBackup(task_id="verify", handoff=sealed.output, outlets=[VERIFIED_BACKUPS])
        copied = CopyOffsite(task_id="copy_offsite", handoff=verified.output)
        read_again = VerifyBackup(task_id="verify_offsite", handoff=copied.output, offsite=True)
        steps.extend([scanned, guarded, synced, sealed, verified, copied, read_again])

    listed = ListSources(task_id="list_sources", sources="{{ params.sources | tojson }}")
    protected = protect.expand(source=listed.output)
    prune = ApplyRetention.partial(
        task_id="prune",
        dry_run="{{ params.dry_run }}",
        trigger_rule="all_done",
        map_index_template="{{ task.source }}",
    ).expand(source=listed.output)
    announced = AnnounceBackups(
        task_id="announce_result",
        sources="{{ params.sources | tojson }}",
        steps=steps,
        prune=prune,
        kind="file trees",
    )
    protected >> prune >> announced


nightly_file_backup()
