"""# Nightly database backup

**When:** 02:00 UTC, or manually: choose the databases, whether retention must not touch the result, and why.

**What:** for every database in `include/config/sources.yaml`, all at the same time as far as the pool allows:

| step | what it does |
|---|---|
| `dump_compress_upload` | one moment as streams: COPY or BSON, zstd, gpg when configured, S3. Sealed by a manifest |
| `verify` | reads every stored byte back, decrypts, decompresses, compares digests and rows, writes evidence |
| `copy_offsite` | copies the verified backup into the off-site repositories |
| `verify_offsite` | the same reading for the copies |
| `prune` | logs a plan, then removes what retention no longer keeps and what failed runs left behind |

MongoDB: on a replica set or a sharded cluster (MongoDB 5 or newer) all collections are read at one cluster time, which
the server has to remember until the backup is done: keep its `minSnapshotHistoryWindowInSeconds` above that. A single
server has no such time: each collection is copied at a moment of its own, and the manifest says so.

Tables and collections that lost rows since the backup before, each against its own history, are named in the message:
`public.payments 30,058 -> 20,060`.

One database that fails does not stop the others. The run is red unless every one is backed up, verified and copied.

**When it fails:** open the red task; its error says what happened and what to do. Then clear that task: the later steps
run again by themselves. Nothing needs to be cleaned up: a backup without a manifest does not exist, and the next run
sweeps what is left of it.
"""

from datetime import timedelta

from airflow.sdk import dag, task_group

from backup_playbook.forms.deadlines import backed_up_in_time
from backup_playbook.forms.defaults import ALERTS, BACKUP_DEFAULTS
from backup_playbook.forms.schedules import DATABASE_BACKUPS, every
from backup_playbook.forms.sources import backup_form, sources
from backup_playbook.operators.announcement import AnnounceBackups, ListSources
from backup_playbook.operators.backup import VERIFIED_BACKUPS, CopyOffsite, DumpCompressUpload, VerifyBackup
from backup_playbook.operators.retention import ApplyRetention


@dag(
    schedule=every(DATABASE_BACKUPS),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    deadline=backed_up_in_time(sources("database")),
    doc_md=__doc__,
    default_args=BACKUP_DEFAULTS,
    tags=["backup"],
    params=backup_form(sources("database")),
    **ALERTS,
)
def nightly_database_backup():
    listed = ListSources(task_id="list_sources", sources="{{ params.sources | tojson }}")

    @task_group
    def protect(source: str):
        taken = DumpCompressUpload(
            task_id="dump_compress_upload", source=source, hold="{{ params.hold }}", reason="{{ params.reason or '' }}"
        )
        verified = VerifyBackup(task_id="verify", handoff=taken.output, outlets=[VERIFIED_BACKUPS])
        copied = CopyOffsite(task_id="copy_offsite", handoff=verified.output)
        read_again = VerifyBackup(task_id="verify_offsite", handoff=copied.output, offsite=True)
        steps.extend([taken, verified, copied, read_again])

    steps = []
    protected = protect.expand(source=listed.output)
    prune = ApplyRetention.partial(
        task_id="prune",
        dry_run="{{ params.dry_run }}",
        trigger_rule="all_done",
        map_index_template="{{ task.source }}",
    ).expand(source=listed.output)
    (
        protected
        >> prune
        >> AnnounceBackups(task_id="announce_result", sources="{{ params.sources | tojson }}", steps=steps, prune=prune)
    )


nightly_database_backup()
