"""The deadlines of runs, from the objectives in policies.yaml; people hear of it when one is missed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert

from backup_playbook.config import load_config
from backup_playbook.forms.run_queued import RunQueued
from backup_playbook.notifiers.runs import RunLate


def finished_within(interval: timedelta) -> DeadlineAlert:
    """Return the deadline of a DAG: `@dag(deadline=finished_within(...))`, counted from when the run was queued.

    Airflow keeps the deadline of a run that has failed: unless it was repaired by then, that is told too.
    """
    return DeadlineAlert(
        reference=RunQueued(),
        interval=interval,
        callback=AsyncCallback(RunLate, {"seconds": interval.total_seconds()}),
    )


def backed_up_in_time(names: Sequence[str]) -> DeadlineAlert:
    """Return the deadline of a nightly run of these sources: the strictest of their objectives counts."""
    config = load_config()
    times = (config.objectives_of(source).backed_up_within for source in names)
    return finished_within(min(times, default=timedelta(hours=1)))
