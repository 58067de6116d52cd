"""The pinned versions of Airflow's Celery provider and of Celery fit each other.

They did not once: the provider named no upper bound, and the scheduler of docker-compose.yaml died at its start.
"""

import os
import subprocess
import sys
from pathlib import Path


def test_the_executor_of_docker_compose_can_be_imported(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import airflow.providers.celery.executors.celery_executor"],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
