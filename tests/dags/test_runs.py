"""Who is told of the end of a run, of a failure before its end, and of a run that is late."""

import asyncio
import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from backup_playbook.config import load_config
from backup_playbook.config.load import DEFAULT_FOLDER
from backup_playbook.core.errors import RepositoryError, SourceError
from backup_playbook.forms.deadlines import backed_up_in_time, finished_within
from backup_playbook.notifiers import protection, runs
from backup_playbook.notifiers.message import Message
from backup_playbook.notifiers.protection import LastVerified
from backup_playbook.notifiers.runs import ERROR, TOLD, RunFailed, RunLate, RunRecovered, keep_error, tell

RUN_ID = "manual__2026-11-23T02:00:00+00:00"


@dataclass
class Instance:
    """What the notifiers use of a task instance."""

    xcoms: dict[str, Any] = field(default_factory=dict)
    previous: str | None = "success"
    task_id: str = "obey"
    map_index: int = -1
    log_url: str = "http://airflow/log"

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, key: str, task_ids: str, map_indexes: int) -> Any:
        return self.xcoms.get(key)

    def get_previous_dagrun(self) -> SimpleNamespace | None:
        return SimpleNamespace(state=self.previous) if self.previous else None


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """All messages of the test; no repository is asked."""
    messages: list[Message] = []
    monkeypatch.setattr(runs, "deliver", lambda message: messages.append(message) or True)
    monkeypatch.setattr(protection, "last_verified", lambda source, _: LastVerified(f"B-{source}", timedelta(hours=5)))
    return messages


def context(instance: Instance | None, reason: str = "task_failure", **more: Any) -> dict[str, Any]:
    run = SimpleNamespace(dag_id="rehearsal", run_id=RUN_ID, clear_number=0)
    found = {"dag": SimpleNamespace(dag_id="rehearsal"), "run_id": RUN_ID, "reason": reason}
    return found | ({"ti": instance, "dag_run": run, "params": {}} if instance else {}) | more


def test_error_of_a_task_reaches_the_message(delivered: list[Message]) -> None:
    instance = Instance()
    keep_error({"ti": instance, "exception": SourceError("The disk is full.", "Make room.")})
    RunFailed().notify(context(instance))
    assert delivered[0].lines[0] == "*`obey` failed:* The disk is full.\nWhat to do: Make room."


def test_task_without_an_exception_keeps_nothing() -> None:
    """Killed ones are told of by the dag processor, which cannot write XComs."""
    instance = Instance()
    keep_error({"ti": instance})
    assert instance.xcoms == {}


def test_run_that_has_spoken_for_itself_is_not_told_again(delivered: list[Message]) -> None:
    instance = Instance(previous="failed")
    tell(instance, Message(severity="high", headline="shop is not safely backed up"))
    RunFailed().notify(context(instance))
    RunRecovered().notify(context(instance, "success"))
    assert [message.headline for message in delivered] == ["shop is not safely backed up"]


def test_run_that_nobody_heard_of_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`info: null`: a good night makes no noise, but the end of a bad time does."""
    monkeypatch.setattr(runs, "deliver", lambda message: False)
    instance = Instance()
    tell(instance, Message(severity="info", headline="shop is backed up and verified"))
    assert TOLD not in instance.xcoms


@pytest.mark.parametrize(
    ("reason", "headline"),
    [
        ("timed_out", "rehearsal has not ended in time and was stopped"),
        ("all_tasks_deadlocked", "rehearsal cannot go on: no task is left that may run"),
    ],
)
def test_run_that_was_stopped_is_told_whatever_its_task_said(
    delivered: list[Message], reason: str, headline: str
) -> None:
    RunFailed().notify(context(Instance({TOLD: True, ERROR: "of an earlier try"}), reason))
    assert (delivered[0].headline, delivered[0].lines[0]) == (headline, "It was at `obey`.")


def test_run_without_a_task_that_failed(delivered: list[Message]) -> None:
    """Airflow then gives no task instance, no run and no params."""
    RunFailed().notify(context(None))
    [message] = delivered
    assert message.headline == "rehearsal failed"
    assert message.link.endswith("/dags/rehearsal/runs/manual__2026-11-23T02%3A00%3A00%2B00%3A00")
    RunRecovered().notify(context(None, "success"))
    assert delivered == [message]


@pytest.mark.parametrize(
    ("previous", "cleared", "told"),
    [("failed", 0, True), ("success", 0, False), (None, 0, False), ("success", 1, True), ("running", 0, False)],
)
def test_first_success_after_a_failure(
    delivered: list[Message], previous: str | None, cleared: int, told: bool
) -> None:
    run = SimpleNamespace(dag_id="rehearsal", run_id=RUN_ID, clear_number=cleared)
    RunRecovered().notify(context(Instance(previous=previous), "success", dag_run=run))
    assert [(message.headline, message.severity, message.over) for message in delivered] == (
        [("rehearsal works again", "high", True)] if told else []
    )


@pytest.mark.parametrize(
    ("params", "sources"),
    [
        ({"sources": ["crm", "shop"]}, ["crm", "shop"]),
        ({"source": "crm"}, ["crm"]),
        ({}, list(load_config().sources)),
        (None, list(load_config().sources)),
    ],
)
def test_says_how_the_sources_of_the_run_stand(
    delivered: list[Message], params: dict[str, Any] | None, sources: list[str]
) -> None:
    RunFailed().notify(context(Instance(), params=params))
    assert list(delivered[0].lines[1:]) == [
        f"*{name}*: Its newest verified backup is `B-{name}`, 5 h 00 min old." for name in sources
    ]


def test_many_sources(delivered: list[Message]) -> None:
    RunFailed().notify(context(Instance(), params={"sources": [f"s{number}" for number in range(30)]}))
    assert len(delivered[0].lines) == 12
    assert delivered[0].lines[-1] == "... and 20 more sources."


@pytest.mark.parametrize(
    "error", [RepositoryError("The bucket is gone.", "Create it."), OSError("The bucket is gone.")]
)
def test_repository_that_does_not_answer_is_asked_once(
    delivered: list[Message], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The dag processor kills a callback after 50 s, and its message with it."""
    asked = []

    def fail(source: str, _: object) -> LastVerified:
        asked.append(source)
        raise error

    monkeypatch.setattr(protection, "last_verified", fail)
    RunFailed().notify(context(Instance(), params={"sources": ["a", "b"]}))
    assert delivered[0].lines[1:] == ("How old the newest verified backups are cannot be told: The bucket is gone.",)
    assert asked == ["a"]


@pytest.mark.parametrize(
    ("state", "says", "remedy"),
    [
        ("queued", "still waits for its start", "look for another run"),
        ("running", "is still running", "open the run"),
        ("failed", "has failed", "open the red task"),
    ],
)
def test_late_run(
    delivered: list[Message], monkeypatch: pytest.MonkeyPatch, state: str, says: str, remedy: str
) -> None:
    """As the triggerer calls it, with the only context that a deadline has."""
    have_states(monkeypatch, obey="running")
    run = late_run(state)

    async def in_triggerer() -> None:
        await RunLate(**finished_within(timedelta(hours=1)).callback.kwargs, context={"dag_run": run})

    asyncio.run(in_triggerer())
    [message] = delivered
    assert message.headline == "rehearsal is late: not done after 1 h 00 min"
    assert message.lines[0] == f"It was due to start at 2026-11-23 02:00:00 UTC and {says}."
    assert message.remedy.startswith(remedy)


def test_a_run_that_waits_for_a_person_is_not_late(delivered: list[Message], monkeypatch: pytest.MonkeyPatch) -> None:
    have_states(monkeypatch, find_rows="success", approve_plan="awaiting_input", import_rows="none")
    RunLate(seconds=3600).notify({"dag_run": late_run("running")})
    [message] = delivered
    assert message.headline == "rehearsal still waits for an answer"
    assert "it waits at `approve_plan`" in message.lines[0]
    assert message.remedy.startswith("open it, read the plan")


def late_run(state: str) -> dict[str, Any]:
    return {
        "dag_id": "rehearsal",
        "dag_run_id": RUN_ID,
        "state": state,
        "conf": None,
        "queued_at": "2026-11-23T02:00:00Z",
    }


def have_states(monkeypatch: pytest.MonkeyPatch, **states: str) -> None:
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: {RUN_ID: states})


def test_deadline_of_the_night_is_the_strictest_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shutil.copytree(DEFAULT_FOLDER, tmp_path / "config")
    sources, policies = (yaml.safe_load((config / name).read_text()) for name in ("sources.yaml", "policies.yaml"))
    policies["objectives"]["strict"] = {**policies["objectives"]["standard"], "backed_up_within": "20m"}
    policies["objectives"]["unused"] = {**policies["objectives"]["standard"], "backed_up_within": "1m"}
    sources["sources"]["crm"] = {**sources["sources"]["shop"], "database": "crm", "objectives": "strict"}
    (config / "sources.yaml").write_text(yaml.safe_dump(sources))
    (config / "policies.yaml").write_text(yaml.safe_dump(policies))
    monkeypatch.setenv("BACKUP_PLAYBOOK_CONFIG", str(config))
    assert backed_up_in_time(["shop", "crm"]).interval == timedelta(minutes=20)
    assert backed_up_in_time(["shop"]).interval == timedelta(hours=1)
    assert backed_up_in_time([]).interval == timedelta(hours=1)
