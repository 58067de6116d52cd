"""Operations below an open folder that take more than one system call."""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
import stat
import struct
from base64 import b64decode
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from backup_playbook.core.tree import Entry, FileType

ACL, DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"
_GROUP, _MASK = 0x04, 0x10
"""Tags of entries of an ACL (linux/posix_acl_xattr.h): those of the owning group, and the most that others may have."""
_HOLE = bytes(64 << 10)

log = logging.getLogger(__name__)


def open_readable(name: bytes, folder: int) -> int:
    """Open a file for reading. If it is ours and its mode forbids that, change the mode for the moment."""
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


def set_mode(descriptor: int, entry: Entry, more: int = 0) -> None:
    """Set mode and extended attributes of an open file or folder. more: further bits of the mode.

    With an ACL, the group's bits are the most that its users and groups may have. Until the ACL is there, and where it
    cannot be, the group gets its own.
    """
    for name in (ACL, DEFAULT_ACL) if entry.is_directory else (ACL,):
        if name not in entry.xattrs:
            with contextlib.suppress(OSError):  # of the folder that it is made in
                os.removexattr(descriptor, name)
    os.chmod(descriptor, mode_without_acl(entry) | more)
    for name, value in entry.xattrs.items():
        try:
            os.setxattr(descriptor, unquote_to_bytes(name), b64decode(value))
        except OSError as error:  # prove() counts those that are missing
            log.debug("%s of %s cannot be set: %s", name, entry.name, error.strerror)
    if more and entry.xattrs:
        os.chmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | more)


def other_xattrs(descriptor: int, entry: Entry) -> tuple[str, str]:
    """Compare extended attributes: return one with another value, and one that is missing or the system's own."""
    differs = lacks = ""
    for name, value in entry.xattrs.items():
        try:
            found = os.getxattr(descriptor, unquote_to_bytes(name))
        except OSError:
            lacks = name
            continue
        if found != b64decode(value):
            if name.startswith(("user.", "system.posix_acl_")) or name == "security.capability":
                differs = name
            else:
                lacks = name  # security.selinux: where it is decides
    return differs, lacks


def mode_without_acl(entry: Entry) -> int:
    """Return the mode that the entry has where there are no ACLs."""
    if ACL not in entry.xattrs:
        return entry.mode
    acl = b64decode(entry.xattrs[ACL])
    held: dict[int, int] = {tag: bits for tag, bits, _ in struct.iter_unpack("<HHI", acl[4:])}
    return entry.mode & ~stat.S_IRWXG | (held.get(_GROUP, 0) & held.get(_MASK, 0o7)) << 3


def change_mode(name: bytes, folder: int, mode: int) -> None:
    """Change the mode of a file or folder of ours, whatever it is; never through a link."""
    descriptor = os.open(name, getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW, dir_fd=folder)
    try:
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            Path(f"/proc/self/fd/{descriptor}").chmod(mode)  # fchmod refuses what is open by its path only
    finally:
        os.close(descriptor)


def umask() -> int:
    """Read the umask, for which it has to be set; meanwhile nothing that is made is open to others."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def free_name(name: bytes, folder: int, *, or_folder: bool = False) -> bytes:
    """Return the name, or one like it, that nothing has. or_folder: a folder may have it."""
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
    """Write a block; its zeros become a hole."""
    for start in range(0, len(block), len(_HOLE)):
        piece = block[start : start + len(_HOLE)]
        if piece == _HOLE[: len(piece)]:
            os.lseek(descriptor, len(piece), os.SEEK_CUR)
        else:
            while piece:  # a disk that is nearly full takes a part
                piece = piece[os.write(descriptor, piece) :]


def kind_of(status: os.stat_result) -> FileType | None:
    """Tell file, directory and link; None for anything else."""
    kinds = {stat.S_IFREG: FileType.FILE, stat.S_IFDIR: FileType.DIRECTORY, stat.S_IFLNK: FileType.SYMLINK}
    return kinds.get(stat.S_IFMT(status.st_mode))


def owner_of(entry: Entry) -> tuple[int, int]:
    """Return user and group id, by name where this machine knows it: its numbers may be others."""
    return _id(pwd.getpwnam, entry.user, entry.uid), _id(grp.getgrnam, entry.group, entry.gid)


@lru_cache(maxsize=2048)
def _id(lookup: Callable[[str], Sequence[Any]], name: str, number: int) -> int:
    try:
        return int(lookup(name)[2]) if name else number
    except KeyError:
        return number
