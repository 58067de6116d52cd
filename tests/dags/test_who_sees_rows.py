"""Keys and values of rows stand in the plan that is approved; logs, reports and messages have numbers."""

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from backup_playbook.core.row_recovery import Conflict, Preview, PreviewRow, TablePreview
from backup_playbook.dag_parts.approval import PLAN
from backup_playbook.dag_parts.rows import without_values
from backup_playbook.operators.rows import leave_plan

VALUE = "ann@example.com"
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


class Ti:
    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def test_only_who_approves_sees_rows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ti = Ti()
    tested: Any = {"unverified": False, "backup_id": "b", "repository": "primary", "remark": ""}
    context: Any = {"ti": ti, "params": {"on_conflict": "skip"}}
    leave_plan(context, tested, PREVIEW, "Rows", datetime(2026, 1, 1, tzinfo=UTC), "How.", f"mail = '{VALUE}'")
    plan = ti.pushed.pop(PLAN)
    assert plan.count(VALUE) == 4
    assert VALUE not in str(ti.pushed)
    assert VALUE not in caplog.text
    assert "| public.users | 1 |" in caplog.text
    assert ti.pushed["preview"]["fingerprint"] == "f"


def test_report_has_no_keys() -> None:
    form = {"table": "users", "keys": [VALUE], "where": f"mail = '{VALUE}'", "ids": None, "drill": False}
    assert without_values(form) == {"table": "users", "keys": "***", "where": "***", "ids": None, "drill": False}
