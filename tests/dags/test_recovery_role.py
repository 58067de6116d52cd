"""include/sql/recovery_role.sql, the grants that the README documents: enough for a whole recovery."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from backup_playbook.config import load_config
from backup_playbook.connections.s3 import catalog
from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import EvidenceKind
from backup_playbook.operators.checks import RunApplicationChecks
from backup_playbook.operators.choose import ChooseBackup
from backup_playbook.operators.recovery import CollectEvidence, PlanRecovery, PromoteCopy
from backup_playbook.operators.restore import PRODUCTION, CreateScratch, DropScratch, ProveScratch, RestoreScratch
from embedded.postgres import PostgresServer
from tests.dags.conftest import PROJECT, back_up
from tests.dags.run_of_tasks import RunOfTasks
from tests.support.backups import said

OWNER = 'shop\'s "owner"'
PASSWORD = "it's a pass word"
SCRIPT = PROJECT / "include/sql/recovery_role.sql"


@pytest.fixture
def recoverable(live: str, postgres18: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database of an ordinary owner, its verified backup, and the role of the script."""
    owner = '"' + OWNER.replace('"', '""') + '"'
    with postgres18.connect(live) as session:
        session.execute(f"CREATE ROLE {owner}")
        session.execute(f"ALTER DATABASE {live} OWNER TO {owner}")
        session.execute(f"ALTER TABLE notes OWNER TO {owner}")
        session.execute(f"GRANT SELECT ON notes TO pg_monitor; CREATE SCHEMA s AUTHORIZATION {owner}")
    manifest = back_up(postgres18.dsn(live), datetime.now(UTC))
    catalog(load_config(), "primary").add_evidence(
        "shop", manifest.backup_id, said(EvidenceKind.VERIFIED), qualifier="full"
    )
    psql = [postgres18.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", f"owner={OWNER}", "-f", SCRIPT]
    environment = {**os.environ, "RECOVERY_PASSWORD": PASSWORD}
    subprocess.run([*psql, "-d", postgres18.dsn(live)], env=environment, check=True)
    admin = {"conn_type": "postgres", "host": "127.0.0.1", "port": postgres18.port, "schema": live}
    monkeypatch.setenv(
        "AIRFLOW_CONN_POSTGRES_SHOP_ADMIN", json.dumps(admin | {"login": "recovery", "password": PASSWORD})
    )
    yield live
    with postgres18.connect() as session:
        names = session.execute("SELECT datname FROM pg_database WHERE datname ~ %s", [f"^{live}"]).fetchall()
    for (name,) in names:
        postgres18.drop_database(name)
    with postgres18.connect() as session:
        session.execute(f"DROP ROLE recovery, {owner}")


def test_recovers_a_whole_database(recoverable: str, postgres18: PostgresServer, tmp_path: Path) -> None:
    """And its checks cannot write to the copy that goes live."""
    with postgres18.connect(recoverable) as session:
        session.execute("DELETE FROM notes")
    run = RunOfTasks()
    chosen = run.do(ChooseBackup(task_id="choose_backup", source="shop", repository="primary"))
    planned = run.do(PlanRecovery(task_id="plan_recovery", handoff=chosen))
    made = run.do(CreateScratch(task_id="create_scratch", handoff=planned, place=PRODUCTION))
    restored = run.do(RestoreScratch(task_id="restore", handoff=made, place=PRODUCTION))
    proven = run.do(ProveScratch(task_id="prove", handoff=restored, place=PRODUCTION))
    set_checks(tmp_path, "DELETE FROM notes RETURNING 0")
    with pytest.raises(VerificationError, match="cannot execute DELETE in a read-only transaction"):
        run.do(RunApplicationChecks(task_id="run_application_checks", handoff=proven, place=PRODUCTION))
    set_checks(tmp_path, "SELECT count(*) - 7 FROM notes")
    checked = run.do(RunApplicationChecks(task_id="run_application_checks", handoff=proven, place=PRODUCTION))
    promoted = run.do(PromoteCopy(task_id="promote_copy", handoff=checked))
    run.do(CollectEvidence(task_id="collect_evidence", handoff=promoted))
    run.do(DropScratch(task_id="drop_scratch", handoff=made, place=PRODUCTION))
    assert run.left["collect_evidence", "facts"]["differences"] == [{"table": "public.notes", "before": 0, "after": 7}]
    with postgres18.connect() as session:
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
        assert session.execute(owner, [recoverable]).fetchall() == [(OWNER,)]


def set_checks(folder: Path, query: str) -> None:
    file = folder / "config/sources.yaml"
    sources = yaml.safe_load(file.read_text())
    check = {"check": "sql", "name": "notes", "query": query, "expect": 0}
    sources["sources"]["shop"]["restore_test"]["checks"] = [check]
    file.write_text(yaml.safe_dump(sources))
