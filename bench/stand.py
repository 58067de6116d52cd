"""The servers, databases and tools that all contestants share."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup_playbook.core.errors import PlaybookError
from embedded.postgres import PostgresServer, client_bin_dirs
from embedded.s3 import S3Gateway

BUCKET = "playbook-backups"
CACHE = Path(__file__).parent / ".cache"
_TOOLS = {
    "bash": "Debian: apt-get install bash",
    "gzip": "Debian: apt-get install gzip",
    "aws": "`make bench` installs it into .venv; elsewhere: pip install awscli",
}


@dataclass(frozen=True)
class Size:
    """Scales are those of `include.sample`: 1.0 is 1.3 GB of COPY text. large_scale None: not measured.

    verified_sources: what the daily verification looks after.
    """

    name: str
    rounds: int
    restore_rounds: int
    shop_scale: float
    huge_scale: float
    large_scale: float | None
    verified_sources: int


# One table is split into chunks of 128 MiB: the small huge table has three.
SIZES = {size.name: size for size in (Size("small", 3, 1, 0.05, 0.3, None, 1), Size("full", 5, 3, 1.0, 1.0, 3.1, 30))}


@dataclass(frozen=True)
class Stand:
    """scratch: an empty directory for contestants that need local files."""

    postgres: PostgresServer
    s3: S3Gateway
    scratch: Path

    def environment(self, database: str) -> dict[str, str]:
        """What every contestant's programs are given: DATABASE_URL, the gateway, and one and the same set of tools."""
        return {
            "PATH": search_path(),
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "BACKUP_PLAYBOOK_PG_CLIENTS": str(client_bin_dirs()[0]),
            "DATABASE_URL": self.postgres.dsn(database),
            **self.s3.shell_environment(),
        }

    @contextmanager
    def database(self, name: str, load: Callable[[str], object]) -> Iterator[str]:
        """A database filled by `load`, settled: no hint bits, statistics or dirty pages left to write in a race."""
        self.postgres.create_database(name)
        load(self.postgres.dsn(name))
        with self.postgres.connect(name) as connection:
            connection.execute("VACUUM (ANALYZE, FREEZE)")
            connection.execute("CHECKPOINT")
        try:
            yield name
        finally:
            self.postgres.drop_database(name)


@contextmanager
def stand() -> Iterator[Stand]:
    """Start the servers; stop them and remove everything at the end. Raises PlaybookError, EmbeddedError."""
    require_tools()
    with _alone():
        postgres, s3 = PostgresServer(CACHE / "postgres"), S3Gateway(CACHE / "s3")
        scratch = CACHE / "scratch"
        _clear(postgres, s3, scratch)  # what a killed run left
        scratch.mkdir(parents=True)
        try:
            postgres.start()
            s3.start().create_bucket(BUCKET)
            yield Stand(postgres, s3, scratch)
        finally:
            _clear(postgres, s3, scratch)


def search_path() -> str:
    """Postgres clients of the server's version first, then what came with this Python (aws), then the machine's."""
    places = [str(client_bin_dirs()[0]), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return os.pathsep.join(places)


def require_tools() -> None:
    """Raise PlaybookError that names every missing tool at once."""
    if missing := [name for name in _TOOLS if shutil.which(name, path=search_path()) is None]:
        raise PlaybookError(
            f"The benchmark compares with programs that are not on this machine: {', '.join(missing)}.",
            " ".join(f"Install {name} ({_TOOLS[name]})." for name in missing),
        )


def _clear(postgres: PostgresServer, s3: S3Gateway, scratch: Path) -> None:
    postgres.remove()
    s3.stop()
    shutil.rmtree(s3.directory, ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlaybookError(
                "Another benchmark runs in this directory, and two would measure each other.",
                "Wait for its end, or end it.",
            ) from None
        yield
