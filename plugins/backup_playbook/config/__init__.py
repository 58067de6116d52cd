"""What is backed up, where to, how long and for whom: the files of include/config, read strictly.

Everything is checked before anything runs, and every problem is reported at once. Secrets are not here: they are in
Airflow connections, which these files name.
"""

from backup_playbook.config.load import PlaybookConfig, load_config
from backup_playbook.config.models import (
    AirflowSettings,
    AlertRoutes,
    Encryption,
    GpgPassphrase,
    GpgRecipients,
    Objectives,
    PostgresSource,
    RepositorySettings,
    RetentionSettings,
    Route,
    Source,
    Sweep,
)

__all__ = [
    "AirflowSettings",
    "AlertRoutes",
    "Encryption",
    "GpgPassphrase",
    "GpgRecipients",
    "Objectives",
    "PlaybookConfig",
    "PostgresSource",
    "RepositorySettings",
    "RetentionSettings",
    "Route",
    "Source",
    "Sweep",
    "load_config",
]
