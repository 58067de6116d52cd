"""What is asked of the file system below an open folder, and is more than one call."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from functools import lru_cache
from itertools import count
from pathlib import Path

from backup_playbook.core.tree import Entry, FileType

_HOLE = bytes(64 << 10)


def open_readable(name: bytes, folder: int) -> int:
    """A file that is ours is read also when its mode forbids it, as that of a backup may: it is open for that long."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(name, flags, dir_fd=folder)
    except PermissionError:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise
    mode = stat.S_IMODE(found.st_mode)
    change_mode(name, folder, mode | stat.S_IRUSR)
    try:
        return os.open(name, flags, dir_fd=folder)
    finally:
        change_mode(name, folder, mode)


def change_mode(name: bytes, folder: int, mode: int) -> None:
    """Of a file or folder of ours, whatever its mode is; never through a link."""
    descriptor = os.open(name, getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW, dir_fd=folder)
    try:
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            Path(f"/proc/self/fd/{descriptor}").chmod(mode)  # fchmod refuses what is open by its path only
    finally:
        os.close(descriptor)


def umask() -> int:
    """There is no way to read it without setting it; meanwhile nothing that is made is open to others."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def free_name(name: bytes, folder: int, *, or_folder: bool = False) -> bytes:
    """The name, or one like it, that nothing has. or_folder: one that is a folder's will do."""
    for number in count():
        found = b"%s~%d" % (name, number) if number else name
        try:
            status = os.stat(found, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return found
        if or_folder and stat.S_ISDIR(status.st_mode):
            return found
    raise AssertionError


def write_sparse(descriptor: int, block: bytes) -> None:
    """Zeros become a hole."""
    for start in range(0, len(block), len(_HOLE)):
        piece = block[start : start + len(_HOLE)]
        if piece == _HOLE[: len(piece)]:
            os.lseek(descriptor, len(piece), os.SEEK_CUR)
        else:
            while piece:  # a disk that is nearly full takes a part
                piece = piece[os.write(descriptor, piece) :]


def kind_of(status: os.stat_result) -> FileType | None:
    kinds = {stat.S_IFREG: FileType.FILE, stat.S_IFDIR: FileType.DIRECTORY, stat.S_IFLNK: FileType.SYMLINK}
    return kinds.get(stat.S_IFMT(status.st_mode))


def owner_of(entry: Entry) -> tuple[int, int]:
    """By name where this machine knows it, for its numbers may be others."""
    return _uid(entry.user, entry.uid), _gid(entry.group, entry.gid)


@lru_cache(maxsize=1024)
def _uid(name: str, number: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if name else number
    except KeyError:
        return number


@lru_cache(maxsize=1024)
def _gid(name: str, number: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else number
    except KeyError:
        return number
