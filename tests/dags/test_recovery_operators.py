"""The steps of a recovery on real servers: which backup a person may take, and what a run that dies leaves behind."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from airflow.sdk.exceptions import (
    AirflowFailException,
    TaskAwaitingInput,
)

from backup_playbook.config import load_config
from backup_playbook.connections.s3 import catalog
from backup_playbook.core.model import EvidenceKind, Manifest
from backup_playbook.core.recovery_points import NoSuchBackupError
from backup_playbook.engines.postgres.promotion import Promotion
from backup_playbook.notifiers import runs
from backup_playbook.notifiers.message import Message
from backup_playbook.operators import approval, recovery
from backup_playbook.operators.approval import (
    BEHIND,
    CHOICES,
    CHOSEN,
    IN_SHORT,
    PLAN,
    ApprovalError,
    ApprovePlan,
    require_answer,
)
from backup_playbook.operators.choose import ChooseBackup, asked_for
from backup_playbook.operators.records import ChooseRecordsBackup, FindRecords
from backup_playbook.operators.recovery import PlanRecovery, PromoteCopy, SwitchMaintenanceOff, SwitchMaintenanceOn
from backup_playbook.operators.report import FACTS
from backup_playbook.operators.restore import (
    PRODUCTION,
    CreateScratch,
    DropScratch,
    ProveScratch,
    RestoreScratch,
)
from embedded.postgres import PostgresServer
from tests.dags.conftest import back_up
from tests.dags.run_of_tasks import RunOfTasks, named
from tests.support.backups import said

PEOPLE: dict[str, Any] = {"table": "people", "keys": ["7"]}


@pytest.fixture
def run() -> RunOfTasks:
    return RunOfTasks()


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What Slack would have got."""
    messages: list[Message] = []
    for module in (approval, recovery, runs):
        monkeypatch.setattr(module, "deliver", messages.append)
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **_: None)
    return messages


@pytest.fixture
def backups(live: str, postgres18: PostgresServer) -> list[Manifest]:
    """Oldest first: of 7 rows, verified; of 8, rejected; of 9, which nobody has checked; of 10, proven. 2 are left."""
    primary, now = catalog(load_config(), "primary"), datetime.now(UTC) - timedelta(minutes=9)
    found = [primary.manifest("shop", primary.backups("shop")[0].backup_id)]
    for number in (1, 2, 3):
        sql(postgres18, live, "INSERT INTO notes VALUES (0)")
        found.append(back_up(postgres18.dsn(live), now + timedelta(minutes=number)))
    sql(postgres18, live, "DELETE FROM notes WHERE id <> 1 AND id <> 2")
    kinds = (EvidenceKind.VERIFIED, EvidenceKind.REJECTED, None, EvidenceKind.RESTORED)
    for manifest, kind in zip(found, kinds, strict=True):
        if kind:
            primary.add_evidence("shop", manifest.backup_id, said(kind), qualifier="full")
    return found


def sql(server: PostgresServer, database: str, command: str) -> list[Any]:
    with server.connect(database) as session:
        cursor = session.execute(command.encode())
        return cursor.fetchall() if cursor.description else []


def choose(run: RunOfTasks, backup: str = "latest", *, allow: bool = False) -> Any:
    operator = ChooseBackup(
        task_id="choose_backup", source="shop", backup=backup, repository="primary", allow_unverified=str(allow)
    )
    return run.do(operator)


def plan(run: RunOfTasks, chosen: Any, *, offer: bool = False, allow: bool = False) -> Any:
    operator = PlanRecovery(task_id="plan_recovery", handoff=chosen, choose=str(offer), allow_unverified=str(allow))
    return run.do(operator)


def approve(drill: str = "False") -> ApprovePlan:
    [planned, chosen] = named(["plan_recovery", "choose_backup"])
    return ApprovePlan(task_id="approve_plan", subject="Recovery of shop", plan=planned, asked=chosen, drill=drill)


def answered(*options: str) -> dict[str, Any]:
    """What Airflow wakes the task with."""
    now, user = datetime.now(UTC), {"id": "7", "name": "Ada"}
    return {"chosen_options": list(options), "params_input": {}, "responded_at": now, "responded_by_user": user}


def test_unverified_backup_needs_the_param_and_its_plan_says_so(run: RunOfTasks, backups: list[Manifest]) -> None:
    wanted = backups[2].backup_id
    with pytest.raises(NoSuchBackupError, match="was never verified") as refused:
        choose(run, wanted)
    assert "`allow_unverified`" in refused.value.remedy
    chosen = choose(run, wanted, allow=True)
    assert chosen["unverified"]
    plan(run, chosen, allow=True)
    assert "UNVERIFIED" in run.xcom_pull("plan_recovery", PLAN).splitlines()[0]
    assert "UNVERIFIED" in run.xcom_pull("plan_recovery", IN_SHORT)


def test_plan_for_rows_says_that_their_backup_is_unverified(
    run: RunOfTasks, live: str, postgres18: PostgresServer
) -> None:
    sql(postgres18, live, "CREATE TABLE people AS SELECT 7 AS id; ALTER TABLE people ADD PRIMARY KEY (id)")
    wanted = back_up(postgres18.dsn(live), datetime.now(UTC)).backup_id
    sql(postgres18, live, "DELETE FROM people")
    arguments: dict[str, Any] = {"source": "shop", "backup": wanted, "repository": "primary"} | PEOPLE
    with pytest.raises(NoSuchBackupError, match="was never verified"):
        run.do(ChooseRecordsBackup(task_id="choose_backup", **arguments))
    chosen = run.do(ChooseRecordsBackup(task_id="choose_backup", allow_unverified="True", **arguments))
    made = run.do(CreateScratch(task_id="create_scratch", handoff=chosen))
    try:
        run.do(FindRecords(task_id="find_rows", handoff=made, **PEOPLE))
    finally:
        run.do(DropScratch(task_id="drop_scratch", handoff=made))
    assert run.xcom_pull("find_rows", PLAN).startswith("**UNVERIFIED: nobody has checked this backup.**")
    assert "UNVERIFIED" in run.xcom_pull("find_rows", IN_SHORT)


def test_rejected_backup_stays_refused(run: RunOfTasks, backups: list[Manifest]) -> None:
    with pytest.raises(NoSuchBackupError, match="was rejected"):
        choose(run, backups[1].backup_id, allow=True)


def test_latest_is_a_verified_one_whatever_is_allowed(run: RunOfTasks, backups: list[Manifest]) -> None:
    assert choose(run, allow=True)["backup_id"] == backups[3].backup_id


def test_person_chooses_by_what_is_in_the_backups(
    run: RunOfTasks, backups: list[Manifest], told: list[Message]
) -> None:
    plan(run, choose(run), offer=True)
    text = run.xcom_pull("plan_recovery", PLAN)
    assert "| public.notes | 2 | 10 | 7 |" in text
    assert f"{backups[1].backup_id} cannot be chosen" in text
    assert f"{backups[2].backup_id} cannot be chosen" in text
    waiting = approve()
    with pytest.raises(TaskAwaitingInput):
        run.do(waiting)
    newest, oldest = (f"Restore {backups[index].backup_id}" for index in (3, 0))
    mark = waiting.options[0].removeprefix(newest)
    assert waiting.options == [f"{newest}{mark}", f"{oldest}{mark}", "Reject"]
    assert f"answer: {newest}{mark}, {oldest}{mark}, Reject" in told[0].remedy
    # another process, another operator
    answer = run.do(approve(), "execute_complete", event=answered(f"{oldest}{mark}"))
    chosen = run.xcom_pull("approve_plan", CHOSEN)
    assert (chosen["backup_id"], chosen["seal"]) == (backups[0].backup_id, backups[0].seal)
    assert approval.approved_by(answer) == f"Ada, who chose: {oldest}"


def test_unverified_ones_are_offered_when_that_is_allowed(run: RunOfTasks, backups: list[Manifest]) -> None:
    plan(run, choose(run), offer=True, allow=True)
    offered = [one["backup_id"] for one in run.xcom_pull("plan_recovery", CHOICES).values()]
    assert offered == [backups[index].backup_id for index in (3, 2, 0)]


def test_what_was_not_offered_is_no_answer(run: RunOfTasks, backups: list[Manifest]) -> None:
    plan(run, choose(run), offer=True)
    for option in ("Approve", f"Restore {backups[1].backup_id}", f"Restore {backups[3].backup_id} (plan 000000)"):
        with pytest.raises(ApprovalError, match="Nothing was touched"):
            run.do(approve(), "execute_complete", event=answered(option))
    assert run.xcom_pull("approve_plan", CHOSEN) is None


def test_drill_takes_the_newest(run: RunOfTasks, backups: list[Manifest], tmp_path: Path) -> None:
    file = tmp_path / "config/policies.yaml"
    file.write_text(file.read_text().replace("unattended_drills: false", "unattended_drills: true"))
    plan(run, choose(run), offer=True)
    answer = run.do(approve(drill="True"))
    assert run.xcom_pull("approve_plan", CHOSEN)["backup_id"] == backups[3].backup_id
    assert approval.approved_by(answer) == f"{approval.NOBODY}, who chose: Restore {backups[3].backup_id}"


def test_known_backup_is_approved_as_it_is(run: RunOfTasks, backups: list[Manifest]) -> None:
    planned = plan(run, choose(run, backups[0].backup_id))
    waiting = approve()
    with pytest.raises(TaskAwaitingInput):
        run.do(waiting)
    answer = run.do(approve(), "execute_complete", event=answered(waiting.options[0]))
    assert run.xcom_pull("approve_plan", CHOSEN) == answer["chosen"] == planned
    require_answer(run, answer)


def test_page_begins_with_how_the_form_was_understood(run: RunOfTasks, backups: list[Manifest]) -> None:
    chosen = choose(run, backups[0].backup_id)
    taken = f"{chosen['backup_id']}, of {backups[0].snapshot_at:%Y-%m-%d %H:%M:%S} UTC"
    asked = run.xcom_pull("choose_backup", "asked")
    assert asked.startswith(f"No time was given. The backup: {taken}, ")
    assert approve().body.startswith("{{ ti.xcom_pull('choose_backup', key='asked')")
    now = backups[0].snapshot_at + timedelta(hours=12)
    given = (backups[0].snapshot_at + timedelta(hours=2)).astimezone(timezone(timedelta(hours=-5)))
    text = asked_for(given, backups[0], now)
    assert text.startswith(f"The time that was given: {given.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, 10 h 00 min ago.")
    assert text.endswith(f"The backup: {taken}, 2 h 00 min before that.")


def test_plan_that_was_made_anew_is_not_approved_by_its_first_page(run: RunOfTasks, backups: list[Manifest]) -> None:
    chosen = choose(run, backups[0].backup_id)
    plan(run, chosen)
    first, again = approve(), approve()
    with pytest.raises(TaskAwaitingInput):
        run.do(first)
    answer = run.do(approve(), "execute_complete", event=answered(first.options[0]))
    require_answer(run, answer)
    for key, changed in ((BEHIND, "other rows than the page has room for"), (PLAN, "There are 3 more rows now.")):
        known = run.left.get(("plan_recovery", key))
        run.left["plan_recovery", key] = changed
        with pytest.raises(ApprovalError, match="made anew after it had been approved"):
            require_answer(run, answer)
        run.left["plan_recovery", key] = known
    run.left["plan_recovery", PLAN] += " There are 3 more rows now."
    with pytest.raises(ApprovalError, match="Start a new run"):
        run.do(again, "execute_complete", event=answered(first.options[0]))


@pytest.fixture
def maintenance(live: str, tmp_path: Path) -> Path:
    """A file that exists while the maintenance mode is on."""
    file, mode = tmp_path / "config/sources.yaml", tmp_path / "maintenance"
    sources = yaml.safe_load(file.read_text())
    command = {"by": "command", "switch_on": ["touch", str(mode)], "switch_off": ["rm", str(mode)]}
    sources["sources"]["shop"]["recovery"]["maintenance"] = command
    file.write_text(yaml.safe_dump(sources))
    return mode


@pytest.fixture
def proven(run: RunOfTasks, backups: list[Manifest], maintenance: Path) -> Iterator[Any]:
    """A run that is ready to promote: what `prove` returned."""
    known = planned = plan(run, choose(run))
    run.do(SwitchMaintenanceOn(task_id="switch_maintenance_on", handoff=planned))
    for step, operator in (("create_scratch", CreateScratch), ("restore", RestoreScratch), ("prove", ProveScratch)):
        known = run.do(operator(task_id=step, handoff=known, place=PRODUCTION))
    yield known
    run.do(DropScratch(task_id="drop_scratch", handoff=known, place=PRODUCTION))


def killed_while(proven: Any, run: RunOfTasks, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The process of `promote_copy` gets SIGKILL when it comes to a step of the exchange."""
    if not (pid := os.fork()):
        monkeypatch.setattr(Promotion, method, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        try:
            run.do(PromoteCopy(task_id="promote_copy", handoff=proven))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    run.states["promote_copy"] = "failed"


def open_again(run: RunOfTasks, proven: Any) -> None:
    """The step that ends maintenance mode, after a recovery that has promoted nothing."""
    [switched] = named(["switch_maintenance_on"])
    arguments = {"handoff": run.xcom_pull("plan_recovery"), "switched_on": switched, "proven": proven, "promoted": None}
    run.do(SwitchMaintenanceOff(task_id="switch_maintenance_off", **arguments))


def test_database_that_a_killed_promotion_left_closed_is_opened(
    proven: Any,
    run: RunOfTasks,
    live: str,
    postgres18: PostgresServer,
    maintenance: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed_while(proven, run, monkeypatch, "_drain")
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        sql(postgres18, live, "SELECT 1")
    assert maintenance.exists()
    open_again(run, proven)
    facts = run.xcom_pull("switch_maintenance_off", FACTS)
    assert facts["state"] == "closed"
    assert facts["maintenance_off"]
    assert sql(postgres18, live, "SELECT count(*) FROM notes") == [(2,)]
    assert not maintenance.exists()


def test_maintenance_mode_stays_on_while_production_is_unusable(
    run: RunOfTasks,
    proven: Any,
    live: str,
    postgres18: PostgresServer,
    maintenance: Path,
    told: list[Message],
) -> None:
    run.states["promote_copy"] = "failed"
    sql(postgres18, live, "CHECKPOINT")
    [(path,)] = sql(postgres18, live, "SELECT pg_relation_filepath('notes')")
    (postgres18.data / path).unlink()
    with pytest.raises(AirflowFailException, match="production cannot be used: 1 table cannot be read"):
        open_again(run, proven)
    assert maintenance.exists()
    assert (told[-1].severity, "still on" in told[-1].headline) == ("critical", True)
    assert "public.notes" in run.xcom_pull("switch_maintenance_off", FACTS)["left_on"]
