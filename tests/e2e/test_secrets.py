"""No secret in what people and programs can read: logs, XCom, rendered templates, the catalog, argv, Slack."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_lines import CommandLines
from tests.e2e.playground import Playground, Run

# Beside its own database, Airflow writes these; airflow.cfg holds no secret of ours, but is its owner's alone anyway.
READABLE = ("*.log", "*.jsonl", "*.txt")


def found(secrets: dict[str, str], text: bytes) -> list[str]:
    return [name for name, secret in secrets.items() if secret.encode() in text]


def files(folder: Path, *patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in folder.rglob(pattern) if path.is_file())


def test_logs(next_night: Run, rough_night: Run, playground: Playground) -> None:
    logs = list(files(playground.airflow.directory, *READABLE))
    leaks = {str(path): names for path in logs if (names := found(playground.secrets(), path.read_bytes()))}
    assert leaks == {}
    everything = b"".join(path.read_bytes() for path in logs)
    assert rough_night.backup_id("shop").encode() in everything, "the search saw no task's log"


def test_airflows_database(next_night: Run, playground: Playground) -> None:
    """XCom, rendered fields, runs' params, import errors, connections: all tables, as text."""
    with sqlite3.connect(f"file:{playground.airflow.home / 'airflow.db'}?mode=ro", uri=True) as database:
        dump = "\n".join(database.iterdump())
    assert found(playground.secrets(), dump.encode()) == []
    assert next_night.backup_id("lost") in dump, "the search saw no XCom"


def test_rendered_templates(rough_night: Run, playground: Playground) -> None:
    path = f"/dags/nightly_database_backup/dagRuns/{rough_night.run_id}/taskInstances"
    tasks = rough_night.client.request("GET", path, limit=1000)["task_instances"]
    rendered = [task["rendered_fields"] for task in tasks]
    assert found(playground.secrets(), repr(rendered).encode()) == []
    assert any(fields.get("source") == "vault_phrase" for fields in rendered)


def test_repositories(next_night: Run, playground: Playground) -> None:
    """Names and contents of everything below both stores' directories."""
    for gateway in (playground.stack.s3_primary, playground.stack.s3_offsite):
        stored = [path for path in files(gateway.directory, "*") if "playbook" in path.parts]
        leaks = {str(path): names for path in stored if (names := found(playground.secrets(), path.read_bytes()))}
        assert leaks == {}
        assert any(path.name == "manifest.json" for path in stored), "the search saw no backup"


def test_command_lines(next_night: Run, command_lines: CommandLines, playground: Playground) -> None:
    """Every user of a machine can read the arguments of all processes."""
    assert [line for line in command_lines.seen if found(playground.secrets(), line)] == []
    programs = {Path(line.split(b"\0")[0].decode(errors="replace")).name for line in command_lines.seen}
    assert {"psql", "gpg"} <= programs, "the samples met no program of a backup"


def test_messages(next_night: Run, playground: Playground) -> None:
    text = playground.stack.slack.messages_file.read_bytes()
    assert found(playground.secrets(), text) == []
    assert b"not safely backed up" in text


@pytest.mark.parametrize("name", ["the passphrase", "the private key", "the webhook's token"])
def test_search_finds_a_secret(playground: Playground, name: str) -> None:
    secret = playground.secrets()[name]
    assert len(secret) >= 16
    assert found(playground.secrets(), f"x{secret}y".encode()) == [name]
