"""The announcement of restore tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import KILLED, run_url, tell
from backup_playbook.operators.report import DONE

REMARKS_SHOWN = 5
REMEDY = (
    "open the red task and its report. When the backup is damaged, test the off-site copy (repository: offsite), or an "
    "older backup; when the target or a check was wrong, correct it and clear the task."
)


class AnnounceRestoreTests(BaseOperator):
    """Tell people which backups were restored and proven, and which were not. Fails when one was not.

    :param sources: the names, in the order in which the tests are mapped.
    :param tests: the mapped step that documents a test.
    """

    template_fields: Sequence[str] = ("sources",)

    def __init__(self, *, sources: Any, tests: BaseOperator, **arguments: Any) -> None:
        super().__init__(**{"retries": 0, "trigger_rule": "all_done", **arguments})
        self.sources: Any = sources
        self.tests = tests.task_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Announce."""
        instance = context["ti"]
        tests = [self._done(instance, source, index) for index, source in enumerate(self.sources or [])]
        failed = [test for test in tests if not test["passed"]]
        message = Message(
            severity=_severity(tests),
            headline=_headline(tests, failed),
            lines=tuple(_line(test) for test in sorted(tests, key=lambda test: test["passed"])),
            remedy=REMEDY if failed else "",
            link=run_url(instance.dag_id, instance.run_id),
        )
        tell(instance, message)
        if failed or not tests:
            raise AirflowFailException("\n".join([message.headline, *message.paragraphs]))
        return tests

    def _done(self, instance: Any, source: str, index: int) -> dict[str, Any]:
        found: dict[str, Any] | None = instance.xcom_pull(self.tests, key=DONE, map_indexes=index)
        nothing = f"The restore test of {source} has no result: {KILLED}"
        return found or {"source": source, "passed": False, "in_short": nothing, "remarks": [], "report": ""}


def _severity(tests: Sequence[dict[str, Any]]) -> Any:
    if not tests or not all(test["passed"] for test in tests):
        return "high"
    return "medium" if any(test["remarks"] for test in tests) else "info"


def _headline(tests: Sequence[dict[str, Any]], failed: Sequence[dict[str, Any]]) -> str:
    if not tests:
        return "No restore was tested: no source could be listed"
    if failed:
        names = ", ".join(test["source"] for test in failed)
        return f"Restore test failed for {names}: that this can be restored is not shown"
    if len(tests) == 1:
        return f"{tests[0]['source']} was restored and proven equal"
    return f"All {len(tests)} sources were restored and proven equal"


def _line(test: dict[str, Any]) -> str:
    report = [f"Report: {test['report']}"] if test["report"] else []
    return " ".join([f"*{test['source']}*: {test['in_short']}", *test["remarks"][:REMARKS_SHOWN], *report])
