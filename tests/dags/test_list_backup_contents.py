"""The content of a backup: its tables, and rows by key, without a restore."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from backup_playbook.config import PlaybookConfig
from backup_playbook.connections.registry import access
from backup_playbook.core.errors import ConfigError
from backup_playbook.core.row_recovery import RowRecoveryError
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.contents import ListContents
from backup_playbook.streams.processes import Cancellation
from embedded.postgres import PostgresServer
from tests.dags.conftest import back_up
from tests.dags.run_of_tasks import RunOfTasks


def test_tables_and_rows_without_confidential_values(
    live: str, postgres18: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with postgres18.connect(live) as session:
        session.execute("CREATE TABLE people (id int PRIMARY KEY, name text, password text)")
        session.execute("INSERT INTO people VALUES (7, 'Ann', 'tulip')")
    taken, run = back_up(postgres18.dsn(live), datetime.now(UTC)), RunOfTasks()
    chosen = run.do(
        ChooseBackup(
            task_id="choose_backup", source="shop", backup=taken.backup_id, repository="primary", allow_unverified=True
        )
    )

    def listed(**asked: Any) -> dict[str, Any]:
        return dict(run.do(ListContents(task_id="list_contents", handoff=chosen, **asked)))

    everything = listed()
    assert [(one["table"], one["rows"]) for one in everything["tables"]] == [("public.notes", 7), ("public.people", 1)]
    found = listed(table="people", keys='["7", "8"]')
    assert ([one["key"] for one in found["tables"]], found["rows"]) == (
        [["id"]],
        [{"id": "7", "name": "Ann", "password": "***"}],
    )
    logged = capsys.readouterr().out
    assert "1 of 2 keys are in it" in logged
    assert "Ann" not in logged
    with pytest.raises(RowRecoveryError, match="keys and no table"):
        listed(keys=["7"])


def test_an_engine_whose_backups_cannot_be_looked_into(mongo_config: PlaybookConfig) -> None:
    with pytest.raises(ConfigError, match="engine mongodb, which has no backups that can be looked into"):
        access(mongo_config, "reviews").contents(cast("Any", None), "", (), Cancellation())
