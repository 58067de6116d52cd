from pathlib import Path

import pytest

from backup_playbook.core.errors import SourceError
from backup_playbook.engines.postgres import clients
from backup_playbook.engines.postgres.clients import CLIENTS_VARIABLE, find_clients

PROGRAMS = ("psql", "pg_dump", "pg_dumpall", "pg_restore")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clients of 14, 16 and 18, and a set of 17 that lacks pg_dumpall."""
    monkeypatch.setattr(clients, "_USUAL_PLACES", ())
    for version, programs in (("14.9", PROGRAMS), ("16.4", PROGRAMS), ("18beta1", PROGRAMS), ("17.2", PROGRAMS[:2])):
        directory = tmp_path / version
        directory.mkdir()
        for program in programs:
            (directory / program).write_text(f"#!/bin/sh\necho '{program} (PostgreSQL) {version} (Debian 1)'\n")
            (directory / program).chmod(0o755)
    monkeypatch.setenv(CLIENTS_VARIABLE, ":".join(str(tmp_path / name) for name in ("18beta1", "17.2", "14.9")))
    monkeypatch.setenv("PATH", str(tmp_path / "16.4"))
    return tmp_path


@pytest.mark.parametrize(
    ("server", "chosen"), [(14, "14.9"), (15, "16.4"), (16, "16.4"), (17, "18beta1"), (18, "18beta1")]
)
def test_the_servers_own_version_or_the_next(installed: Path, server: int, chosen: str) -> None:
    found = find_clients(server)
    assert found.directory.name == chosen
    assert found.pg_dump == installed / chosen / "pg_dump"


def test_none_that_is_new_enough(installed: Path) -> None:
    with pytest.raises(SourceError, match=r"Postgres 19.*found: .*14\.9 in") as caught:
        find_clients(19)
    assert "postgresql-client-19" in caught.value.remedy
    assert CLIENTS_VARIABLE in caught.value.remedy


def test_only_client_programs_are_attributes(installed: Path) -> None:
    with pytest.raises(AttributeError):
        find_clients(14).rm  # noqa: B018
