"""# Daily backup verification

**When:** 03:00 UTC, when the nightly backups have to be done; or manually, as often as you like.

**What:** for every source in `include/config/sources.yaml`, all at the same time as far as the pool allows:

| step | what it does |
|---|---|
| `scrub` | reads a share of the older backups again, in every repository, so that each is read within `reread_within` |
| `assess` | compares what the repositories hold with what the configuration promises |
| `report_findings` | tells people what is new and what is resolved, and makes the run red when data is at risk |

| `assess` asks | if not |
|---|---|
| Can every repository be read, and is every backup in it still what was stored? | critical |
| Was every restored copy equal to its backup, or proven equal since? | high |
| Is there a verified backup of the last run that was due, and is the newest one within the RPO? | high |
| Is there an equal, verified copy of it in each off-site repository? | high |
| Is it encrypted, if that is configured; with the configured keys? | high; medium |
| Was every backup read again within `reread_within`? | high |
| Was a backup restored and proven within `proven_within`? | medium |
| Is its size above `minimum_size`, and as usual (the last 30)? | medium |
| Does it have the tables and the rows that yesterday's had? | medium |
| Does every backup bear a date that had come when it was taken? | medium |

A problem is told once, and once more when it is resolved; on a day without any there is one summary. Critical and high
findings make the run red as long as they last, medium ones do not. What people were told is in the Airflow Variable
`backup_playbook_open_problems`; delete it to be told everything again.

A backup of which a restored copy was not equal is not chosen by `latest`, and does not count as proven, until a later
restore proves it equal. Somebody who knows why, and finds the backup good, gives its id under *Accept*: that stays
beside the backup as evidence.

**When it fails:** the error of `report_findings` lists every finding with what to do about it. When that is done, run
this again manually: it reads all that is rejected again, and says what is resolved. If `scrub` or `assess` is red, the
verification itself did not work: open that task; the other sources were looked at nevertheless.
"""

from datetime import timedelta

from airflow.sdk import dag, task_group

from backup_playbook.forms.defaults import ALERTS, BACKUP_DEFAULTS
from backup_playbook.forms.fields import optional_text_param
from backup_playbook.forms.schedules import DAILY_VERIFICATION, every
from backup_playbook.operators.announcement import ListSources
from backup_playbook.operators.findings import ReportFindings
from backup_playbook.operators.verification import AssessSource, ScrubBackups


@dag(
    schedule=every(DAILY_VERIFICATION),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    doc_md=__doc__,
    default_args=BACKUP_DEFAULTS,
    tags=["assure"],
    params={
        "accept": optional_text_param(
            "Accept",
            "Id of a backup that is good although a restored copy was not equal.",
            pattern=r"^(\d{8}T\d{6}Z-[0-9a-f]{6})?$",
        ),
        "reason": optional_text_param("Reason", "Why it is good."),
    },
    **ALERTS,
)
def daily_backup_verification():
    listed = ListSources(task_id="list_sources")

    @task_group
    def check(source: str):
        scrub = ScrubBackups(task_id="scrub", source=source)
        assessed = AssessSource(
            task_id="assess",
            source=source,
            scrubbed=scrub.output,
            accept="{{ params.accept or '' }}",
            reason="{{ params.reason or '' }}",
            trigger_rule="all_done",
        )
        assessments.append(assessed)

    assessments = []
    checked = check.expand(source=listed.output)
    checked >> ReportFindings(
        task_id="report_findings", sources=listed.output, assessed=assessments[0], accept="{{ params.accept or '' }}"
    )


daily_backup_verification()
