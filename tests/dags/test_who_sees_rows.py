"""Keys and values of rows stand in the plan that is approved; logs, reports and messages have numbers."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from backup_playbook.core.row_recovery import Conflict, Preview, PreviewRow, TablePreview
from backup_playbook.engines.record_recovery import WantedRecords
from backup_playbook.operators.approval import BEHIND, PLAN
from backup_playbook.operators.handoffs import Restoring
from backup_playbook.operators.records import FindRecords, shown, without_values
from tests.dags.run_of_tasks import RunOfTasks

VALUE = "ann@example.com"
CONDITION = f"mail = '{VALUE}'"
PREVIEW = Preview(
    tables=(
        TablePreview(
            table="public.users",
            counts={"missing": 1, "differs": 1},
            rows=(PreviewRow(key=f"mail={VALUE}", state="missing", values=f"mail={VALUE}"),),
        ),
    ),
    conflicts=(
        Conflict(
            table="public.users", kind="key reused", what="1 row.", choices="C.", solved_by=("skip",), rows=(VALUE,)
        ),
    ),
    remarks=(),
    fingerprint="f",
)
WANTED = {"table": "users", "condition": CONDITION, "on_conflict": "skip"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHOSEN = Restoring(
    source="shop", backup_id="b", repository="primary", seal="", origin="", taken_at=NOW, remark="", unverified=False,
    started_at=NOW,
).as_json()  # fmt: skip


class Records:
    """A recovery that finds PREVIEW."""

    def understand(self) -> str:
        return "Rows of users."

    def describe(self) -> tuple[str, str, str]:
        return "Rows", "How.", CONDITION

    def load(self, *_: Any) -> dict[str, float]:
        return {"data": 1.0}

    def preview(self, *_: Any) -> Preview:
        return PREVIEW


@contextmanager
def reader(*_: Any) -> Iterator[Any]:
    yield SimpleNamespace(manifest=None)


def test_only_who_approves_sees_rows(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    access = SimpleNamespace(
        records=lambda _: Records(), reader=reader, copy_server=lambda _: SimpleNamespace(scratch=lambda *_: None)
    )
    monkeypatch.setattr("backup_playbook.connections.registry.access", lambda *_: access)
    run = RunOfTasks()
    found = run.do(FindRecords(task_id="find_rows", handoff=CHOSEN, **WANTED))
    plan = run.left.pop(("find_rows", PLAN))
    assert plan.count(VALUE) == 4
    assert "Those that in the backup met" in plan
    assert run.left["find_rows", BEHIND] == found["preview"]["fingerprint"] == "f"
    assert VALUE not in str(run.left)
    assert VALUE not in str(shown(Preview.model_validate(found["preview"])))
    logged = caplog.text + capsys.readouterr().out
    assert VALUE not in logged
    assert "| public.users | 1 |" in logged


def test_report_has_no_keys() -> None:
    asked = WantedRecords("users", (VALUE,), CONDITION)
    assert without_values(asked) == {
        "table": "users", "keys": "***", "condition": "***", "children": True, "fire_triggers": False,
    }  # fmt: skip
    assert without_values(WantedRecords("users"))["keys"] == ()
