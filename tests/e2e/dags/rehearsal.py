"""A DAG with the alerts of all others, whose only task does as it is told."""

import os
import signal
import time
from datetime import timedelta

from airflow.sdk import Param, dag, task

from backup_playbook.core.errors import SourceError
from backup_playbook.forms.deadlines import finished_within
from backup_playbook.forms.defaults import ALERTS, BACKUP_DEFAULTS


@dag(
    schedule=None,
    dagrun_timeout=timedelta(seconds=40),
    deadline=finished_within(timedelta(seconds=30)),
    default_args={**BACKUP_DEFAULTS, "retries": 0},
    params={"end": Param("well"), "source": Param("shop")},
    **ALERTS,
)
def rehearsal():
    @task
    def obey(params):
        if params["end"] == "error":
            raise SourceError("The server of <shop> is <!here>.", "start it & clear this task.")
        if params["end"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if params["end"] == "never":
            time.sleep(300)

    obey()


rehearsal()
