"""Configuration: the files of include/config, read strictly.

They say what is backed up, where to, how long and for whom. Everything is checked before anything runs, and every
problem is reported at once. Secrets are not here: they are in Airflow connections, which these files name.
"""

from backup_playbook.config.alerts import AlertRoutes, Route
from backup_playbook.config.encryption import Encryption, GpgPassphrase, GpgRecipients
from backup_playbook.config.file_trees import OtherBucket
from backup_playbook.config.load import PlaybookConfig, load_config
from backup_playbook.config.models import RepositorySettings, Source, Target
from backup_playbook.config.policies import AirflowSettings, Objectives, RetentionSettings, Sweep
from backup_playbook.config.protected import DatabaseSource
from backup_playbook.config.recovery import CommandMaintenance, HttpCall, HttpMaintenance, Maintenance, RecoverySettings
from backup_playbook.config.restore_test import ApplicationCheck, CommandCheck, HttpCheck, RestoreTest, SqlCheck

__all__ = [
    "AirflowSettings",
    "AlertRoutes",
    "ApplicationCheck",
    "CommandCheck",
    "CommandMaintenance",
    "DatabaseSource",
    "Encryption",
    "GpgPassphrase",
    "GpgRecipients",
    "HttpCall",
    "HttpCheck",
    "HttpMaintenance",
    "Maintenance",
    "Objectives",
    "OtherBucket",
    "PlaybookConfig",
    "RecoverySettings",
    "RepositorySettings",
    "RestoreTest",
    "RetentionSettings",
    "Route",
    "Source",
    "SqlCheck",
    "Sweep",
    "Target",
    "load_config",
]
