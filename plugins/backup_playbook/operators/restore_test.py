"""What a restore test is about, and what is told at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import load_config
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import KILLED, run_url, tell
from backup_playbook.operators.documentation import DOCUMENTED, Documented

GROUP = "test"
STEP = "document_result"
REMARKS_SHOWN = 5
REMEDY = (
    "open the red task and its report. When the backup is damaged, test the off-site copy (repository: offsite), or an "
    "older backup; when the target or a check was wrong, correct it and clear the task."
)


def tested_sources() -> list[str]:
    """The sources that have a restore test. Raises ConfigError, which the UI shows as an import error of the DAG."""
    return [name for name, settings in load_config().sources.items() if settings.restore_test]


@task(task_id="announce_result", trigger_rule="all_done", retries=0)
def announce_restore_tests(ti: Any) -> list[Documented]:
    """Tell people which backups were restored and proven, and which were not. Fails when one was not."""
    sources = ti.xcom_pull(task_ids="list_sources") or []
    tests = [_documented(ti, source, index) for index, source in enumerate(sources)]
    failed = [test for test in tests if not test["passed"]]
    message = Message(
        severity=_severity(tests),
        headline=_headline(tests, failed),
        lines=tuple(_line(test) for test in sorted(tests, key=lambda test: test["passed"])),
        remedy=REMEDY if failed else "",
        link=run_url(ti.dag_id, ti.run_id),
    )
    tell(ti, message)
    if failed or not tests:
        raise AirflowFailException("\n".join([message.headline, *message.paragraphs]))
    return tests


def _documented(instance: Any, source: str, index: int) -> Documented:
    found: Documented | None = instance.xcom_pull(f"{GROUP}.{STEP}", key=DOCUMENTED, map_indexes=index)
    return found or Documented(
        source=source,
        passed=False,
        in_short=f"The restore test of {source} has no result: {KILLED}",
        remarks=[],
        report="",
    )


def _severity(tests: Sequence[Documented]) -> Any:
    if not tests or not all(test["passed"] for test in tests):
        return "high"
    return "medium" if any(test["remarks"] for test in tests) else "info"


def _headline(tests: Sequence[Documented], failed: Sequence[Documented]) -> str:
    if not tests:
        return "No restore was tested: no source could be listed"
    if failed:
        names = ", ".join(test["source"] for test in failed)
        return f"Restore test failed for {names}: that this can be restored is not shown"
    if len(tests) == 1:
        return f"{tests[0]['source']} was restored and proven equal"
    return f"All {len(tests)} sources were restored and proven equal"


def _line(test: Documented) -> str:
    report = [f"Report: {test['report']}"] if test["report"] else []
    return " ".join([f"*{test['source']}*: {test['in_short']}", *test["remarks"][:REMARKS_SHOWN], *report])
