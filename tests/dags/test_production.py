"""Which databases are production, by whatever address; that restores keep away from them, and from all that exists."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from backup_playbook.config import load_config
from backup_playbook.connections.postgres import PostgresAccess
from backup_playbook.core.errors import ConfigError, GuardError, RestoreError
from backup_playbook.engines.postgres import recovery_preflight
from backup_playbook.engines.postgres.row_counts import count_rows
from backup_playbook.forms.restore import TESTED_ON
from backup_playbook.operators.full_restore import PlanRestore
from backup_playbook.operators.handoffs import Restoring
from embedded.postgres import PostgresServer
from tests.dags.conftest import connect
from tests.integration.postgres.lab import source_of


def shop() -> PostgresAccess:
    return PostgresAccess(load_config(), "shop")


def test_production_under_another_name_is_never_dropped(live: str, postgres18: PostgresServer) -> None:
    """Even when somebody gave it a scratch's name and mark."""
    disguise = f"scratch_shop_{live[-8:]}"
    mark = {"backup_playbook": "scratch", "source": "shop", "backup_id": "", "owner": "x", "created_at": "2026-01-01"}
    with postgres18.connect() as connection:
        connection.execute(f"ALTER DATABASE {live} RENAME TO {disguise}")
        connection.execute(f"COMMENT ON DATABASE {disguise} IS '{json.dumps(mark)}'")
    try:
        scratch = shop().copy_server().scratch(disguise)
        # the source's connection leads to no database any more: its newest backup tells which one it was
        with pytest.raises(GuardError, match="is the production database shop"):
            scratch.drop()
    finally:
        with postgres18.connect() as connection:
            connection.execute(f"ALTER DATABASE {disguise} RENAME TO {live}")


def test_identity_is_the_same_from_the_server_and_from_the_backup(
    live: str, postgres18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [reached] = shop().production()
    assert reached.name == live
    connect(monkeypatch, "postgres_shop", postgres18, "localhost", "no_such_database")
    [remembered] = shop().production()
    assert remembered.is_same(reached)


def test_source_without_a_restore_test_has_no_target(live: str, tmp_path: Path) -> None:
    file = tmp_path / "config/sources.yaml"
    sources = yaml.safe_load(file.read_text())
    del sources["sources"]["shop"]["restore_test"]
    file.write_text(yaml.safe_dump(sources))
    with pytest.raises(ConfigError, match="has no restore test"):
        shop().copy_server()


class Instance:
    """A task instance that remembers what it was told."""

    dag_id = "restore_database"

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.said[key] = value


Plan = Callable[..., dict[str, Any]]
FORM = {"target": "new_database", "database": "shop_copy", "server": TESTED_ON, "only": []}


@pytest.fixture
def plan(live: str) -> Plan:
    """`plan(**form)`: what plan_restore returns and says for the newest backup."""
    [entry] = shop().catalog().backups("shop")
    manifest = shop().catalog().manifest("shop", entry.backup_id)
    chosen = Restoring(
        source="shop",
        backup_id=entry.backup_id,
        repository="primary",
        seal=manifest.seal,
        origin=manifest.origin_seal,
        taken_at=manifest.snapshot_at,
        remark="",
        unverified=True,
        started_at=manifest.snapshot_at,
    )

    def make(**form: Any) -> dict[str, Any]:
        arguments: Any = {"handoff": chosen.as_json(), **FORM, **form}
        context: Any = {"ti": Instance(), "run_id": "test"}
        return {**PlanRestore(task_id="plan_restore", **arguments).execute(context), **context["ti"].said}

    return make


def test_plan_of_a_new_database(plan: Plan) -> None:
    planned = plan()
    assert (planned["kept"], planned["target"], planned["tables"]) == ("shop_copy", "staging", ["public.notes"])
    assert 'DROP DATABASE "shop_copy" WITH (FORCE);' in planned["plan"]
    assert "not measured yet" in planned["in_short"]


def test_new_database_is_named_by_itself(plan: Plan) -> None:
    assert "__restored_" in plan(database="")["kept"]


def test_plan_of_a_part_names_what_is_left_out(plan: Plan) -> None:
    planned = plan(target="staging", database="", only=["public.notes"])
    assert planned["tables"] == ["public.notes"]
    assert "__restored_" in planned["kept"]
    assert "only those of public.notes: 1 table, 7 rows" in planned["plan"]
    assert "**Left out:** nothing." in planned["plan"]


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"database": "postgres"}, "is reserved"),
        ({"database": "template1"}, "is reserved"),
        ({"database": "scratch_shop_0123abcd"}, "is reserved"),
        ({"database": "shop__quarantine_20261123_120000"}, "is reserved"),
        ({"database": 'a"; DROP DATABASE shop; --'}, "cannot be the name"),
        ({"database": "x" * 64}, "cannot be the name"),
        ({"target": "staging"}, "takes no name"),
        ({"target": "production"}, "takes no name"),
        ({"target": "production", "database": "", "only": ["public.notes"]}, "the rest of it would be lost"),
        ({"only": ["public.note"]}, "no schema or table 'public.note'"),
        ({"leave_out": ["INDEX public no_such"]}, "no 'INDEX public no_such' that could be left out"),
    ],
)
def test_plan_refuses_what_makes_no_sense(form: dict[str, Any], problem: str, plan: Plan) -> None:
    with pytest.raises(RestoreError, match=problem):
        plan(**form)


def test_plan_refuses_a_database_that_exists(plan: Plan, live: str) -> None:
    with pytest.raises(RestoreError, match=f"There is a database {live} already"):
        plan(database=live)


def test_plan_refuses_a_server_without_room(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_preflight, "_free_bytes", lambda _: 10)
    with pytest.raises(RestoreError, match=r"The server of .* has 10 B free"):
        plan()


@pytest.mark.parametrize(
    ("missing", "form", "problem"),
    [
        ("restore_test", {"target": "staging", "database": ""}, "has no restore test"),
        ("restore_test", {"target": "production", "database": ""}, "has no restore test"),
        ("restore_test", {}, "has no restore test"),
        ("recovery", {"target": "production", "database": ""}, "has no `recovery`"),
        (None, {"server": "lost"}, "has no server 'lost'"),
    ],
)
def test_plan_needs_the_configuration(
    missing: str | None, form: dict[str, Any], problem: str, plan: Plan, tmp_path: Path
) -> None:
    file = tmp_path / "config/sources.yaml"
    sources = yaml.safe_load(file.read_text())
    sources["sources"]["shop"].pop(missing, None)
    file.write_text(yaml.safe_dump(sources))
    with pytest.raises(ConfigError, match=problem):
        plan(**form)


def test_new_database_may_be_on_a_server_that_tests_nothing(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "config/sources.yaml"
    sources = yaml.safe_load(file.read_text())
    del sources["sources"]["shop"]["restore_test"]
    file.write_text(yaml.safe_dump(sources))
    assert plan(server="staging")["target"] == "staging"


def test_rows_of_production_are_counted(live: str, postgres18: PostgresServer) -> None:
    with postgres18.connect(live) as connection:
        connection.execute('CREATE TABLE "odd . name" (id int)')
    assert count_rows(source_of(postgres18.dsn(live)).server) == {"public.notes": 7, "public.odd . name": 0}
