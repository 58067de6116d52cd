"""The schedules of the DAGs that run by themselves, in UTC."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable

from backup_playbook.config import PlaybookConfig

DATABASE_BACKUPS = "0 2 * * *"
DAILY_VERIFICATION = "0 3 * * *"
RESTORE_TESTS = "0 6 * * MON#1"


def backup_schedule(config: PlaybookConfig, source: str) -> str:
    """Return the schedule by which a source is backed up."""
    return config.airflow.file_backups if config.source(source).kind == "files" else DATABASE_BACKUPS


def every(cron: str) -> CronTriggerTimetable:
    """Return the timetable of a DAG that runs by itself.

    A DAG that is switched on waits for its next time. Airflow 3.3.2 would start at once what was due within a tenth of
    the period before, also where `run_immediately` is left off.
    """
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))
