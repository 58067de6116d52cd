"""The moment at which a run was queued first, as the reference of its deadline."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from airflow.sdk.definitions.deadline import BaseDeadlineReference


class RunQueued(BaseDeadlineReference):
    """A DeadlineReference.DAGRUN_QUEUED_AT under which the deadline of a run that is cleared stays where it was.

    Airflow 3.3.2 answers 500 when a run is cleared whose deadline is of that kind and not over yet
    (apache/airflow#70368), and "clear the red task" is what our messages advise. Nor do the objectives wait longer
    because a run has failed. Airflow finds this class by `deadline_references` of the plugin.
    """

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        queued: datetime | None = session.scalar(
            select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        )
        return queued
