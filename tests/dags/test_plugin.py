"""What the plugin adds to Airflow's processes when they load it."""

import json
import shutil
from pathlib import Path

from tests.dags.test_all_dags import PROJECT, airflow_environment, run_python

PLUGINS = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins")}
PROGRAM = """
import json
from airflow.plugins_manager import get_plugin_info
from airflow.listeners.listener import get_listener_manager
get_listener_manager()  # as every job of Airflow does when it starts
from backup_playbook.config import load
print(json.dumps([[one["name"] for one in get_plugin_info()], load._load.cache_info().currsize]))
"""


def test_configuration_is_read_before_the_dag_processor_forks(tmp_path: Path) -> None:
    names, configurations = json.loads(run_python(PROGRAM, airflow_environment(tmp_path, **PLUGINS)))
    assert "backup_playbook" in names
    assert configurations == 1


def test_a_broken_configuration_takes_nothing_from_airflow(tmp_path: Path) -> None:
    config = shutil.copytree(PROJECT / "include/config", tmp_path / "config")
    (config / "sources.yaml").write_text("sources: [")
    environment = airflow_environment(tmp_path / "home", BACKUP_PLAYBOOK_CONFIG=str(config), **PLUGINS)
    names, configurations = json.loads(run_python(PROGRAM, environment))
    assert "backup_playbook" in names
    assert configurations == 0
