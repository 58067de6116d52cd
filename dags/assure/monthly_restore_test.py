"""# Monthly restore test

**When:** the first Monday of the month, 06:00 UTC; or manually, for any source, any of its backups, and either
repository. As scheduled, it takes the newest verified backup, in turns from the primary and an off-site repository.

**What:** a backup counts when it has been restored and proven equal. For every source with a `restore_test` in
`include/config/sources.yaml`, on the server that it names, never on production:

| step | what it does |
|---|---|
| `choose_backup` | finds the backup, and reads its manifest |
| `create_scratch` | removes what killed runs left; checks versions, extensions and roles; makes an empty database |
| `restore` | definitions, rows or documents in parallel streams straight from the bucket, indexes and constraints |
| `prove` | reads it all back: rows, digests, sequences, large objects, definitions must be equal |
| `compare_with_production` | rows then and now, table by table; remarks on what the backup's age does not explain |
| `run_application_checks` | the queries, commands and pages that the source's configuration names |
| `document_result` | a report for people and one for machines, and evidence beside the backup |
| `drop_scratch` | removes the database again, whatever happened |

Owners and grants are restored too where the target has the roles and its role may; the report says whether, or why not.

The reports are in the repository that was read, below `reports/`; the evidence is in all that hold a verified copy. A
repository that does not answer is passed over, which the report says. A run is red when any step of any source failed,
and when a scratch could not be removed.

**When it fails:** read the message of `document_result`: it names the step, what it said, and the report. A backup
whose stored bytes are damaged is rejected: no other DAG uses it any more, until they are read well again. One of which
the copy was not equal is no longer the `latest`, until a restore proves it or somebody accepts it by its id
(daily_backup_verification). Test the off-site copy next (*Repository*: offsite). Everything else is wrong with the
target, the checks or the network: correct it and clear the red task; its scratch is made anew.
"""

from datetime import timedelta

from airflow.sdk import dag, task_group

from backup_playbook.forms.defaults import ALERTS, BACKUP_DEFAULTS
from backup_playbook.forms.fields import REPOSITORIES, backup_param, choice_param
from backup_playbook.forms.schedules import RESTORE_TESTS, every
from backup_playbook.forms.sources import sources, sources_param
from backup_playbook.operators.announcement import ListSources
from backup_playbook.operators.checks import CompareWithProduction, RunApplicationChecks
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.restore import STAGING, CreateScratch, DropScratch, ProveScratch, RestoreScratch
from backup_playbook.operators.restore_report import DocumentRestoreTest
from backup_playbook.operators.restore_test import AnnounceRestoreTests


@dag(
    schedule=every(RESTORE_TESTS),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    doc_md=__doc__,
    default_args=BACKUP_DEFAULTS,
    tags=["assure"],
    params={
        "sources": sources_param(sources(tested=True)),
        "backup": backup_param(),
        "repository": choice_param(
            "Repository",
            "Which copy is restored. `alternate`: in turns, month by month. `any`: the newest, the primary one first.",
            *REPOSITORIES,
        ),
    },
    **ALERTS,
)
def monthly_restore_test():
    listed = ListSources(task_id="list_sources", sources="{{ params.sources | tojson }}")

    @task_group
    def test(source: str):
        chosen = ChooseBackup(
            task_id="choose_backup",
            source=source,
            backup="{{ params.backup }}",
            repository="{{ params.repository }}",
        )
        scratch = CreateScratch(
            task_id="create_scratch", handoff=chosen.output, place=STAGING, try_owners=True
        ).as_setup()
        restored = RestoreScratch(task_id="restore", handoff=scratch.output, place=STAGING)
        proven = ProveScratch(task_id="prove", handoff=restored.output, place=STAGING)
        compared = CompareWithProduction(task_id="compare_with_production", handoff=proven.output)
        checked = RunApplicationChecks(task_id="run_application_checks", handoff=compared.output, place=STAGING)
        documented = DocumentRestoreTest(
            task_id="document_result",
            source=source,
            steps=[chosen, scratch, restored, proven, compared, checked],
        )
        dropped = DropScratch(task_id="drop_scratch", handoff=scratch.output, place=STAGING)
        checked >> documented >> dropped.as_teardown(setups=scratch, on_failure_fail_dagrun=True)
        tests.append(documented)

    tests = []
    tested = test.expand(source=listed.output)
    tested >> AnnounceRestoreTests(task_id="announce_result", sources=listed.output, tests=tests[0])


monthly_restore_test()
