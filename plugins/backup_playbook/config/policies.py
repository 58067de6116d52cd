"""Models of policies.yaml. A field's description is what editors show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from backup_playbook.config.recovery import RecoverySettings
from backup_playbook.config.strict import Strict
from backup_playbook.config.values import Duration, Name, NonEmpty, advice
from backup_playbook.core.retention import RetentionPolicy


class RetentionSettings(Strict):
    """The first verified backup of each day, week, month and year is kept for this long; 0 switches a rule off."""

    daily: int = Field(default=RetentionPolicy.daily, ge=0, le=36_500, description="Days.")
    weekly: int = Field(default=RetentionPolicy.weekly, ge=0, le=5_200, description="Weeks.")
    monthly: int = Field(default=RetentionPolicy.monthly, ge=0, le=1_200, description="Months.")
    yearly: int = Field(default=RetentionPolicy.yearly, ge=0, le=100, description="Years.")
    keep_newest: int = Field(
        default=RetentionPolicy.keep_newest,
        ge=1,
        le=1_000,
        description="So many of the newest verified backups are never removed, whatever their age.",
    )

    @property
    def policy(self) -> RetentionPolicy:
        """Policy for `core.retention`."""
        return RetentionPolicy(**self.model_dump())


class Objectives(Strict):
    """Promises to the business."""

    rpo: Duration = Field(description="Recovery point objective: at most so much of the newest work may be lost.")
    rto: Duration = Field(description="Recovery time objective: a restore may take at most this long.")
    backed_up_within: Duration = Field(
        default=timedelta(hours=1),
        description="When the nightly run takes longer than this, people hear that the backup is late.",
    )
    proven_within: Duration = Field(
        default=timedelta(days=35),
        description="The newest backup that was restored and proven equal may be at most this old.",
    )
    reread_within: Duration = Field(
        default=timedelta(days=30),
        description="Every stored object is read and verified again this often, to find bit rot and tampering.",
    )


def _longer_than_a_backup(grace: timedelta) -> timedelta:
    if grace < timedelta(hours=1):
        raise advice("Write at least 1h. Until its manifest is written, a running backup looks like a failed one.")
    return grace


class Sweep(Strict):
    """Removal of what failed runs left behind: objects without a manifest, uploads that never ended."""

    grace: Annotated[Duration, AfterValidator(_longer_than_a_backup)] = Field(
        default=timedelta(hours=24),
        description=(
            "Nothing younger is removed. Must be longer than the longest backup takes: its manifest is written last."
        ),
    )


class AirflowSettings(Strict):
    """Settings of the DAGs in Airflow."""

    pool: NonEmpty = Field(
        default="backups",
        description="Airflow pool that limits how many backups and restores run at once. It must exist.",
    )
    file_backups: NonEmpty = Field(
        default="0 1 * * *",
        description="When nightly_file_backup runs, as cron writes it (UTC). `0 * * * *` is hourly.",
    )


class PoliciesFile(Strict):
    """Retention, objectives, and limits of recoveries and of Airflow."""

    retention: Mapping[Name, RetentionSettings] = Field(min_length=1)
    objectives: Mapping[Name, Objectives] = Field(min_length=1)
    sweep: Sweep = Sweep()
    recovery: RecoverySettings = RecoverySettings()
    airflow: AirflowSettings = AirflowSettings()
