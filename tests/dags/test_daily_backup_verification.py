"""The graph of the daily verification, and what its report tells, day after day."""

import json
from dataclasses import asdict, astuple, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from backup_playbook.config import load_config
from backup_playbook.core.health import Finding
from backup_playbook.core.model import EncryptionRecord
from backup_playbook.core.schedule import last_due
from backup_playbook.forms.dag_names import RELEASE, ROLLBACK
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.runs import TOLD
from backup_playbook.operators import findings
from backup_playbook.operators.findings import ReportFindings
from backup_playbook.operators.handoffs import Assessment
from backup_playbook.operators.verification import expected
from tests.dags.run_of_tasks import named

SOURCES = ["shop", "crm"]
LATE = Finding("shop/today", "high", "shop", "There is no backup of 2026-11-23.", "It is 25 h old.", "Run it now.")
SMALL = Finding("crm/unusual_size", "medium", "crm", "It is small.", "It is 1 h old.", "Compare.")


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags["daily_backup_verification"]


def test_graph(dag: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "list_sources": {"check.scrub", "check.assess", "report_findings"},
        "check.scrub": {"check.assess"},
        "check.assess": {"report_findings"},
        "report_findings": set(),
    }


def test_assessment_and_report_run_whatever_happened(dag: DAG) -> None:
    rules = {task.task_id: task.trigger_rule for task in dag.tasks}
    assert rules == {
        "list_sources": "all_success",
        "check.scrub": "all_success",
        "check.assess": "all_done",
        "report_findings": "all_done",
    }


def test_a_backup_is_due_by_the_schedule_of_its_own_dag(dagbag: DagBag) -> None:
    config, now = load_config(), datetime(2026, 11, 23, 3, 0, 4, tzinfo=UTC)
    promised = expected(config, "shop", now)
    assert promised.due == datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
    assert (promised.minimum_size, promised.encryption) == (1_000_000, EncryptionRecord())
    for source in config.sources:
        promised = expected(config, source, now)
        timetable = dagbag.dags[promised.dags.back_up].timetable
        assert last_due(timetable.expression, config.objectives_of(source).backed_up_within, now) == promised.due
    of_files = config.airflow.model_copy(update={"file_backups": "0 6 * * *"})
    late = replace(config, policies=config.policies.model_copy(update={"airflow": of_files}))
    promised = expected(late, "uploads", now)
    assert promised.due == datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    assert (promised.dags.back_up, promised.dags.prove) == ("nightly_file_backup", "restore_files")


def test_the_names_of_dags_in_remedies_are_those_of_dags(dagbag: DagBag) -> None:
    config = load_config()
    assert {ROLLBACK, RELEASE} <= dagbag.dags.keys()
    for source in config.sources:
        assert set(astuple(expected(config, source, datetime.now(UTC)).dags)) <= dagbag.dags.keys()


@dataclass
class Airflow:
    """The Variable, the XComs of a run, and a Slack that may be down."""

    variable: str | None = None
    messages: list[Message] = field(default_factory=list)
    delivers: bool = True
    sources: list[str] | None = field(default_factory=lambda: list(SOURCES))
    findings: dict[str, list[Finding] | None] = field(default_factory=dict)
    """None: `assess` of the source died."""
    accepted_for: str = ""
    pushed: dict[str, Any] = field(default_factory=dict)
    dag_id: str = "daily_backup_verification"
    run_id: str = "manual__1"

    def get(self, key: str, default: str) -> str:
        assert key == "backup_playbook_open_problems"
        return default if self.variable is None else self.variable

    def set(self, key: str, value: str) -> None:
        self.variable = value

    def deliver(self, message: Message) -> bool:
        self.messages.append(message)
        return self.delivers

    def xcom_pull(self, task_ids: str, map_indexes: int = -1) -> Any:
        assert task_ids == "check.assess"
        source = SOURCES[map_indexes]
        found = self.findings.get(source, [])
        if found is None:
            return None
        told = tuple(asdict(item) for item in found)
        accepted = source == self.accepted_for
        return Assessment(source=source, in_short="All good.", findings=told, accepted=accepted).as_json()

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def report(self, accept: str = "", **found: list[Finding] | None) -> list[str]:
        """One run; the headlines of its messages."""
        self.findings, self.messages, self.pushed = found, [], {}
        [assessed] = named(["check.assess"])
        report = ReportFindings(task_id="report_findings", sources=self.sources, assessed=assessed, accept=accept)
        self.lines = report.execute({"ti": self})
        return self.headlines

    def red(self, accept: str = "", **found: list[Finding] | None) -> tuple[str, list[str]]:
        """A run that fails: its error, and its headlines."""
        with pytest.raises(AirflowFailException) as failure:
            self.report(accept, **found)
        return str(failure.value), self.headlines

    @property
    def headlines(self) -> list[str]:
        return [f"{'over ' if message.over else ''}{message.severity}: {message.headline}" for message in self.messages]


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr(findings, "Variable", airflow)
    monkeypatch.setattr(findings, "deliver", airflow.deliver)
    return airflow


ALL_WELL = "info: All sources are as safely backed up as promised"
SHOP_LATE = "high: shop: There is no backup of 2026-11-23."
CRM_SMALL = "medium: crm: It is small."


def test_one_summary_a_day_when_all_is_well(airflow: Airflow) -> None:
    assert airflow.report() == [ALL_WELL]
    assert airflow.messages[0].lines == ("*shop*: All good.", "*crm*: All good.")
    assert airflow.report() == []
    assert airflow.variable
    airflow.variable = airflow.variable.replace(json.loads(airflow.variable)["all_well_on"], "2020-01-01")
    assert airflow.report() == [ALL_WELL]


def test_problem_is_told_once_and_its_end_once(airflow: Airflow) -> None:
    error, headlines = airflow.red(shop=[LATE], crm=[SMALL])
    assert headlines == [SHOP_LATE, CRM_SMALL]
    assert error == "high: shop: There is no backup of 2026-11-23. What to do: Run it now."
    message = airflow.messages[0]
    assert (message.lines, message.remedy) == (("It is 25 h old.",), "Run it now.")
    assert message.link.endswith("/dags/daily_backup_verification/runs/manual__1")
    assert airflow.red(shop=[replace(LATE, what="Still none.")], crm=[SMALL])[1] == []
    assert airflow.report(crm=[SMALL]) == ["over high: Resolved: shop: There is no backup of 2026-11-23."]
    assert airflow.lines == ["medium: crm: It is small. What to do: Compare."]
    assert airflow.report() == ["over medium: Resolved: crm: It is small.", ALL_WELL]


def test_repository_that_is_away_is_one_message_for_all_sources(airflow: Airflow) -> None:
    away = [
        replace(
            LATE, key=f"{name}/unreadable/primary", severity="critical", source=name, what="No answer.", blinding=True
        )
        for name in SOURCES
    ]
    assert airflow.red(shop=[away[0]], crm=[away[1]])[1] == ["critical: crm, shop: No answer."]
    assert airflow.messages[0].lines == ("*crm*: It is 25 h old.", "*shop*: It is 25 h old.")
    assert airflow.red(crm=[away[1]])[1] == ["over critical: Resolved: shop: No answer."]
    assert airflow.report()[0] == "over critical: Resolved: crm: No answer."


def test_another_severity_is_news(airflow: Airflow) -> None:
    airflow.report(crm=[SMALL])
    assert airflow.red(crm=[replace(SMALL, severity="critical")])[1] == ["critical: crm: It is small."]


def test_what_was_not_delivered_is_told_again(airflow: Airflow) -> None:
    airflow.delivers = False
    airflow.red(shop=[LATE])
    assert airflow.pushed == {}, "the run's own alert speaks for it"
    airflow.delivers = True
    assert airflow.red(shop=[LATE])[1] == [SHOP_LATE]
    assert airflow.pushed == {TOLD: True}
    airflow.delivers = False
    assert airflow.report() == ["over high: Resolved: shop: There is no backup of 2026-11-23.", ALL_WELL]
    airflow.delivers = True
    assert airflow.report() == ["over high: Resolved: shop: There is no backup of 2026-11-23.", ALL_WELL]


def test_red_run_says_nothing_twice(airflow: Airflow) -> None:
    airflow.red(shop=[LATE])
    airflow.red(shop=[LATE])
    assert airflow.pushed == {TOLD: True}


def test_source_whose_assessment_died_hides_no_other(airflow: Airflow) -> None:
    airflow.red(shop=[LATE])
    error, headlines = airflow.red(shop=None, crm=[SMALL])
    assert headlines == ["critical: shop: Its backups could not be looked at.", CRM_SMALL], "what was told is not over"
    assert "Open the red task `assess`" in error


def test_run_without_sources_is_no_all_clear(airflow: Airflow) -> None:
    airflow.sources = None
    error, headlines = airflow.red()
    assert "open the red task" in error
    assert headlines == []
    assert TOLD not in airflow.pushed


def test_word_of_a_person_that_met_no_backup_is_no_silence(airflow: Airflow) -> None:
    airflow.accepted_for = "crm"
    assert airflow.report("20261123T020004Z-7f3a91") == [ALL_WELL]
    airflow.accepted_for = ""
    error, _ = airflow.red("20261123T020004Z-7f3a91")
    assert "Nothing was accepted: no source has a backup 20261123T020004Z-7f3a91" in error


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"open": []}', '{"open": {"x": {"colour": "red"}}}', "7"])
def test_variable_that_somebody_broke_is_written_anew(airflow: Airflow, text: str) -> None:
    airflow.variable = text
    assert airflow.red(shop=[LATE])[1] == [SHOP_LATE]
    assert airflow.red(shop=[LATE])[1] == []
