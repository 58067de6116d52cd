"""DAG files, parsed as the dag processor does it. Nothing here needs Airflow's database."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Airflow reads these when it is first imported, and writes its configuration where AIRFLOW_HOME points to.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from airflow.dag_processing.dagbag import DagBag  # noqa: E402 - after its settings

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dagbag() -> DagBag:
    return DagBag(PROJECT / "dags")
