"""Additions to Airflow's own processes."""

from contextlib import suppress
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from backup_playbook.config import load_config
from backup_playbook.core.errors import ConfigError
from backup_playbook.forms.run_queued import RunQueued
from backup_playbook.web.tokens import WrongTokenIs401


class BackupPlaybookPlugin(AirflowPlugin):
    """Middleware of the API server, and references that deadlines count from."""

    name = "backup_playbook"
    fastapi_root_middlewares: ClassVar[list[Any]] = [
        {"name": "A wrong token is answered with 401", "middleware": WrongTokenIs401, "args": [], "kwargs": {}}
    ]
    deadline_references: ClassVar[list[Any]] = [RunQueued]

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Read the configuration once: the dag processor loads plugins before it forks for each DAG file."""
        with suppress(ConfigError):  # each DAG file raises it, where people see it
            load_config()
