"""Postgres refuses to run as root. When we are root, it runs as another user, who must be able to reach its files.

Permissions of the project's directory, a home directory or a virtual environment are never changed for that: what the
other user cannot reach gets a place below SHARED_ROOT, which only root can write to.
"""

import functools
import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

from embedded.errors import EmbeddedError
from embedded.processes import locked

SHARED_ROOT = Path("/var/lib/backup-playbook")
_ORIGIN = "origin"


@functools.cache
def server_user() -> pwd.struct_passwd | None:
    """Whom Postgres runs as: None for "as ourselves", else `postgres` (or `nobody` where that does not exist)."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedError(
        "Postgres does not run as root, and this system has neither a user `postgres` nor `nobody`.",
        "Add one (useradd --system postgres), or work as an ordinary user.",
    )


def run_as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """The arguments of subprocess.run that change to the user."""
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def reachable(path: Path, user: pwd.struct_passwd | None) -> bool:
    """Whether the user can read and enter the path. Asks the kernel: mode bits do not tell about ACLs and mounts."""
    if user is None:
        return True
    test = subprocess.run(["test", "-r", str(path), "-a", "-x", str(path)], cwd="/", **run_as(user))
    return test.returncode == 0


def home_for(directory: Path, user: pwd.struct_passwd | None) -> Path:
    """A directory that belongs to the user: inside `directory` if the user can get there, else below SHARED_ROOT.

    It need not exist yet; `prepare_home` makes it.
    """
    if reachable(directory, user):
        return directory / "server"
    return SHARED_ROOT / "servers" / hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:16]


def prepare_home(home: Path, directory: Path, user: pwd.struct_passwd | None) -> None:
    if SHARED_ROOT in home.parents:
        _shared(home.parent)
        home.mkdir(mode=0o700, exist_ok=True)
        home.with_suffix(f".{_ORIGIN}").write_text(str(directory.resolve()))
    home.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        os.chown(home, user.pw_uid, user.pw_gid)


def remove_home(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.with_suffix(f".{_ORIGIN}").unlink(missing_ok=True)


def orphaned_homes() -> list[Path]:
    """Homes below SHARED_ROOT whose directory is gone (someone removed the stack's directory manually)."""
    if server_user() is None:
        return []  # they belong to root
    origins = sorted((SHARED_ROOT / "servers").glob(f"*.{_ORIGIN}"))
    return [origin.with_suffix("") for origin in origins if _names_a_missing_directory(origin)]


def _names_a_missing_directory(origin: Path) -> bool:
    try:
        return not Path(origin.read_text()).exists()
    except FileNotFoundError:  # its server was removed at this moment
        return False


def reachable_copy(tree: Path, name: str, user: pwd.struct_passwd | None) -> Path:
    """The tree of programs itself, or a copy that the user can run when they cannot get to it."""
    if reachable(tree, user):
        return tree
    programs = _shared(SHARED_ROOT / "programs")
    copy = programs / name
    with locked(programs):
        if not copy.exists():
            temporary = programs / f".{name}.{os.getpid()}"
            shutil.copytree(tree, temporary, symlinks=True)
            temporary.rename(copy)
    return copy


def _shared(directory: Path) -> Path:
    for part in (SHARED_ROOT, directory):
        part.mkdir(mode=0o755, exist_ok=True)
        part.chmod(0o755)  # mkdir's mode is cut by the umask
    return directory
