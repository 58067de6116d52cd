"""What is backed up, where to, how long and for whom: the files of include/config, read strictly.

Everything is checked before anything runs, and every problem is reported at once. Secrets are not here: they are in
Airflow connections, which these files name.
"""

from backup_playbook.config.load import PlaybookConfig, load_config
from backup_playbook.config.models import (
    AirflowSettings,
    AlertRoutes,
    ApplicationCheck,
    CommandCheck,
    Encryption,
    GpgPassphrase,
    GpgRecipients,
    HttpCheck,
    Objectives,
    PostgresSource,
    PostgresTarget,
    RepositorySettings,
    RestoreTest,
    RetentionSettings,
    Route,
    Source,
    SqlCheck,
    Sweep,
)
from backup_playbook.config.recovery import (
    CommandMaintenance,
    HttpCall,
    HttpMaintenance,
    Maintenance,
    RecoverySettings,
    SourceRecovery,
)

__all__ = [
    "AirflowSettings",
    "AlertRoutes",
    "ApplicationCheck",
    "CommandCheck",
    "CommandMaintenance",
    "Encryption",
    "GpgPassphrase",
    "GpgRecipients",
    "HttpCall",
    "HttpCheck",
    "HttpMaintenance",
    "Maintenance",
    "Objectives",
    "PlaybookConfig",
    "PostgresSource",
    "PostgresTarget",
    "RecoverySettings",
    "RepositorySettings",
    "RestoreTest",
    "RetentionSettings",
    "Route",
    "Source",
    "SourceRecovery",
    "SqlCheck",
    "Sweep",
    "load_config",
]
