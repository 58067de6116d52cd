"""The ids of the DAGs that texts and commands name."""

from __future__ import annotations

from backup_playbook.config import PlaybookConfig
from backup_playbook.core.facts import Dags

ROLLBACK = "rollback_promotion"
RELEASE = "release_quarantine"


def dags_of(config: PlaybookConfig, source: str) -> Dags:
    """Return the DAGs that a person starts for a source."""
    of_files = config.source(source).kind == "files"
    return Dags(
        back_up="nightly_file_backup" if of_files else "nightly_database_backup",
        prove="restore_files" if of_files else "monthly_restore_test",
        repair="repair_backup",
        verify="daily_backup_verification",
    )
