"""# Which backup, now?

**When:** whenever you want to know what could be restored at this moment.

**What:** `list_recovery_points` writes to its log, and returns, for every source the newest backup that a restore has
proven, the newest verified one and the newest that is not verified: its age, its size, how long a retrieval from an
archive takes, how long a restore with proof will take (from the restores that were measured), and which repositories
hold it, verified, not verified, DAMAGED, or with the remark that a restored copy was not equal or that its date had not
come when it was taken: these two, and what is damaged, are never the `latest`. It changes nothing.

**When it fails:** a repository that cannot be read is said in the list and does not hide the others. If the task itself
is red, its error says what is wrong with the configuration.
"""

from airflow.sdk import dag

from backup_playbook.forms.defaults import BACKUP_DEFAULTS
from backup_playbook.operators.recovery_points import ListRecoveryPoints


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    default_args=BACKUP_DEFAULTS,
    tags=["assure"],
)
def list_recovery_points():
    ListRecoveryPoints(task_id="list_recovery_points")


list_recovery_points()
