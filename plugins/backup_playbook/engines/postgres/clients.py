"""Client programs (psql, pg_dump ...) that fit a server: one older than its server refuses to dump."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from backup_playbook.core.errors import SourceError

CLIENTS_VARIABLE = "BACKUP_PLAYBOOK_PG_CLIENTS"
_PROGRAMS = ("psql", "pg_dump", "pg_dumpall", "pg_restore")
_USUAL_PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql*/bin")


@dataclass(frozen=True)
class Clients:
    """The client programs of one Postgres version."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """Major version."""
        return int(self.version.split(".")[0])

    def __getattr__(self, program: str) -> Path:
        if program not in _PROGRAMS:
            raise AttributeError(program)
        return self.directory / program


def find_clients(server_major: int) -> Clients:
    """Find the installed clients of the server's major version, or else of the next newer one.

    Raises SourceError that names what is missing and how to install it.
    """
    found = installed_clients()
    fitting = sorted((clients for clients in found if clients.major >= server_major), key=lambda item: item.major)
    if not fitting:
        have = ", ".join(f"{item.version} in {item.directory}" for item in found) or "none"
        raise SourceError(
            f"The server is Postgres {server_major}, and this worker has no client programs of that version or newer "
            f"(found: {have}).",
            f"Install postgresql-client-{server_major} on every worker of this queue, or name its bin directory in "
            f"{CLIENTS_VARIABLE}.",
        )
    return fitting[0]


def installed_clients() -> tuple[Clients, ...]:
    """All complete sets of client programs on this worker; those in BACKUP_PLAYBOOK_PG_CLIENTS first."""
    return _installed(os.environ.get(CLIENTS_VARIABLE, ""), os.environ.get("PATH", ""))


@cache
def _installed(named: str, path: str) -> tuple[Clients, ...]:
    directories = [Path(item) for item in named.split(os.pathsep) if item]
    for place in _USUAL_PLACES:
        directories += sorted(Path("/").glob(place))
    # last: Debian's /usr/bin/psql is a wrapper that starts Perl first
    directories += [Path(item) for item in path.split(os.pathsep) if item]
    complete = (item for item in dict.fromkeys(directories) if all(shutil.which(item / name) for name in _PROGRAMS))
    return tuple(Clients(directory, version) for directory in complete if (version := _version_in(directory)))


def _version_in(directory: Path) -> str | None:
    answer = subprocess.run(
        [directory / "pg_dump", "--version"], capture_output=True, text=True, check=False, timeout=10
    )
    match = re.search(r"(\d+(?:\.\d+)?)", answer.stdout)
    return match[1] if match else None
