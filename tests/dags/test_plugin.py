"""What the plugin adds to Airflow's processes when they load it."""

import json
import shutil
from pathlib import Path

from tests.dags.test_all_dags import HEAVY, PROJECT, airflow_environment, run_python

PLUGINS = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins")}
PROGRAM = """
import json, sys
from airflow.plugins_manager import get_plugin_info
from airflow.listeners.listener import get_listener_manager
get_listener_manager()  # as every job of Airflow does when it starts
from backup_playbook.config import load
names = [one["name"] for one in get_plugin_info()]
print(json.dumps([names, load._load.cache_info().currsize, list(sys.modules)]))
"""


def test_dag_files_find_ready_what_they_need(tmp_path: Path) -> None:
    names, configurations, modules = json.loads(run_python(PROGRAM, airflow_environment(tmp_path, **PLUGINS)))
    assert "backup_playbook" in names
    assert configurations == 1
    assert "backup_playbook.operators.restore" in modules
    assert not {*HEAVY} & {*modules}


def test_a_broken_configuration_takes_nothing_from_airflow(tmp_path: Path) -> None:
    config = shutil.copytree(PROJECT / "include/config", tmp_path / "config")
    (config / "sources.yaml").write_text("sources: [")
    environment = airflow_environment(tmp_path / "home", BACKUP_PLAYBOOK_CONFIG=str(config), **PLUGINS)
    names, configurations, _ = json.loads(run_python(PROGRAM, environment))
    assert "backup_playbook" in names
    assert configurations == 0
