"""Additions to Airflow's own processes."""

from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from backup_playbook import operators
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
        """Get ready what DAG files need: the dag processor loads plugins once, and then forks for each file."""
        for module in iter_modules(operators.__path__, f"{operators.__name__}."):
            import_module(module.name)
        with suppress(ConfigError):  # each DAG file raises it, where people see it
            load_config()
