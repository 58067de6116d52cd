"""Additions to Airflow's own processes."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from backup_playbook.forms.run_queued import RunQueued
from backup_playbook.web.tokens import WrongTokenIs401


class BackupPlaybookPlugin(AirflowPlugin):
    """Middleware of the API server, and references that deadlines count from."""

    name = "backup_playbook"
    fastapi_root_middlewares: ClassVar[list[Any]] = [
        {"name": "A wrong token is answered with 401", "middleware": WrongTokenIs401, "args": [], "kwargs": {}}
    ]
    deadline_references: ClassVar[list[Any]] = [RunQueued]
