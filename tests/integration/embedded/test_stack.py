"""The whole stack, as the demo and a shell use it."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.postgres.hooks.postgres import PostgresHook

from embedded.stack import OFFSITE_BUCKET, PRIMARY_BUCKET, PROJECT, Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        yield stack.start()
    finally:
        stack.remove()


@pytest.fixture
def airflow_environment(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "embedded", *arguments], cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.usefixtures("airflow_environment")
def test_connections_lead_to_the_servers() -> None:
    users = {
        name: PostgresHook(name).get_first("SELECT current_user")[0]
        for name in ("postgres_shop", "postgres_shop_admin", "postgres_staging")
    }
    assert users == {"postgres_shop": "backup", "postgres_shop_admin": "postgres", "postgres_staging": "postgres"}
    assert S3Hook("s3_primary").check_for_bucket(PRIMARY_BUCKET)
    assert S3Hook("s3_offsite").check_for_bucket(OFFSITE_BUCKET)
    assert not S3Hook("s3_offsite").check_for_bucket(PRIMARY_BUCKET)


def test_backup_role_reads_everything_and_writes_nothing(stack: Stack) -> None:
    with stack.shop.connect("shop") as owner:
        owner.execute("CREATE SCHEMA hidden; CREATE TABLE hidden.t AS SELECT 1 AS id")
        owner.execute("SELECT lo_from_bytea(4711, 'large')")
    with psycopg.connect(stack.shop.dsn("shop", "backup", stack.backup_password), autocommit=True) as backup:
        assert backup.execute("SELECT id, lo_get(4711) FROM hidden.t").fetchone() == (1, b"large")
        with pytest.raises(psycopg.Error):
            backup.execute("INSERT INTO hidden.t VALUES (2)")


def test_start_is_idempotent_and_mends_what_was_killed(stack: Stack) -> None:
    before = stack.environment()
    stack.shop.kill()
    stack.s3_offsite.kill()
    stack.slack.kill()
    assert [part.name for part in stack.status() if not part.running] == ["shop", "s3-offsite", "slack"]
    assert Stack(stack.directory).start().environment() == before
    assert all(part.running for part in stack.status())


def test_two_stacks_run_side_by_side(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path)
    try:
        other.start()
        ports = [part.port for one in (stack, other) for part in one._parts().values()]
        assert len(set(ports)) == len(ports)
        other.stop()
        assert all(part.running for part in stack.status())
    finally:
        other.remove()


def test_stop_spares_a_stranger_with_the_same_pid(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "slack").mkdir()
        (tmp_path / "slack" / "process.json").write_text(f'{{"pid": {stranger.pid}, "started": 1000000000.0}}')
        stack.stop()
        assert stranger.poll() is None
        stranger.send_signal(signal.SIGKILL)


def test_command_line_starts_reports_and_removes(tmp_path: Path) -> None:
    directory = str(tmp_path / "with 'odd' name")
    try:
        up = command("up", "--dir", directory)
        assert up.returncode == 0, up.stderr
        exported = dict(line.removeprefix("export ").split("=", 1) for line in up.stdout.splitlines())
        assert "AIRFLOW_CONN_SLACK_ALERTS" in exported
        [dsn] = shlex.split(exported["SHOP_DSN"])
        psycopg.connect(dsn).close()
        assert command("status", "--dir", directory).returncode == 0
    finally:
        down = command("down", "--remove", "--dir", directory)
    assert down.returncode == 0, down.stderr
    assert not Path(directory).exists()
    assert command("status", "--dir", directory).returncode == 1
