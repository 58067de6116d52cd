"""A directory as a tree of files."""

from __future__ import annotations

import errno
import grp
import os
import platform
import pwd
import stat
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_from_bytes

from backup_playbook.core.errors import SourceError
from backup_playbook.core.tree import YOUNG, Entry, FileType, Outcome
from backup_playbook.engines.files.trees import why_unreadable
from backup_playbook.streams.blocks import BLOCK_BYTES, Blocks, closing
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")

TRIES = 3
YOUNG_NS = 60 * 10**9
"""Age below which the next backup reads a file again.

A page that is written to by mmap changes the file's times once, and not again until the kernel has stored it, half a
minute later.
"""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
"""A fifo that took a file's place must not be waited for, nor a link followed."""
_TYPES = {
    stat.S_IFREG: FileType.FILE,
    stat.S_IFDIR: FileType.DIRECTORY,
    stat.S_IFLNK: FileType.SYMLINK,
    stat.S_IFIFO: FileType.FIFO,
    stat.S_IFSOCK: FileType.SOCKET,
}


@dataclass(frozen=True)
class DirectoryTree:
    """A directory with its mounts. Symbolic links are recorded, never followed."""

    root: Path

    @cached_property
    def _root(self) -> bytes:
        return os.fsencode(self.root) + b"/"

    @cached_property
    def _device(self) -> int:
        return self.root.stat().st_dev

    @cached_property
    def _grown_up(self) -> int:
        """Latest change that is old enough, by the start of this run."""
        return time.time_ns() - YOUNG_NS

    @property
    def details(self) -> dict[str, Any]:
        """Details for the manifest."""
        return {"directory": str(self.root), "host": platform.node()}

    def scan(self, cancellation: Cancellation) -> Iterator[Entry]:
        """Walk the directory in order. Raises SourceError when it cannot be read itself."""
        try:
            waiting = [iter(_names(os.fsencode(self.root)))]
        except OSError as error:
            raise SourceError(
                f"The directory {self.root} cannot be read on {platform.node()}: {error.strerror}.",
                "Correct `directory` of this source, mount it, or let the tasks run on a worker that has it.",
            ) from None
        folders = [b""]
        while waiting:
            if (name := next(waiting[-1], None)) is None:
                waiting.pop()
                folders.pop()
                continue
            path = folders[-1] + name
            real = self._real(path)
            try:
                entry = self._entry(path, os.lstat(real), real)
            except OSError as error:
                if isinstance(error, FileNotFoundError):
                    continue  # deleted since its name was read
                entry = Entry(path, _type_of(name), outcome=Outcome.UNREADABLE, reason=why_unreadable(error))
            if entry.is_directory != name.endswith(b"/"):
                continue  # replaced by something else since its name was read: the next backup has it
            if entry.is_directory and not entry.outcome:
                cancellation.check()
                try:
                    waiting.append(iter(_names(real)))
                    folders.append(path)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    entry = entry._replace(outcome=Outcome.UNREADABLE, reason=why_unreadable(error))
            yield entry

    def look_closer(self, entry: Entry) -> Entry:
        """Add extended attributes, and check that it may be read."""
        if not entry.has_attributes:
            return entry
        real = self._real(entry.path)
        try:
            if entry.type != FileType.FILE:
                return entry._replace(xattrs=_xattrs(real))
            if not os.access(real, os.R_OK, effective_ids=True):  # it may not know ACLs
                os.close(os.open(real, _READ))
        except PermissionError as error:
            return entry._replace(outcome=Outcome.UNREADABLE, reason=why_unreadable(error))
        except OSError as error:
            why_unreadable(error)  # that it is gone, or what is wrong with it, its reading says
        return entry  # the xattrs of a file come with its content

    def read(self, entry: Entry, consume: Callable[[Blocks], T]) -> tuple[Entry, T]:
        """Read a file, TRIES times at most when it changes meanwhile."""
        descriptor = os.open(self._real(entry.path), _READ)
        try:
            for _ in range(TRIES):
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    raise FileNotFoundError("it is no file any more")
                os.lseek(descriptor, 0, os.SEEK_SET)
                with closing(_blocks(descriptor, before.st_size)) as blocks:
                    result = consume(blocks)
                after = os.fstat(descriptor)
                found = self._entry(entry.path, after)._replace(xattrs=_xattrs(descriptor))
                if _times(before) == _times(after):
                    return found, result
            return found._replace(
                outcome=Outcome.CHANGING, reason=f"it changed during {TRIES} tries to read it"
            ), result
        finally:
            os.close(descriptor)

    def _entry(self, path: bytes, status: os.stat_result, link: bytes = b"") -> Entry:
        """Describe a path. link: where to read the target of a symbolic link."""
        kind = _TYPES.get(stat.S_IFMT(status.st_mode), FileType.DEVICE)
        is_file, is_link = kind is FileType.FILE, kind is FileType.SYMLINK
        special = not (is_file or is_link or kind is FileType.DIRECTORY)
        return Entry(
            path=path,
            type=kind.value,
            size=status.st_size if is_file else 0,
            mtime_ns=status.st_mtime_ns,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            user=_name(pwd.getpwuid, status.st_uid),
            group=_name(grp.getgrgid, status.st_gid),
            inode=status.st_ino,
            device=0 if status.st_dev == self._device else status.st_dev,
            ctime_ns=YOUNG if is_file and status.st_ctime_ns > self._grown_up else status.st_ctime_ns,
            links=status.st_nlink if is_file and status.st_nlink > 1 else 0,
            sparse=is_file and status.st_blocks * 512 < status.st_size,
            target=os.readlink(link) if is_link and link else b"",  # noqa: PTH115 - Path knows no bytes
            outcome=Outcome.SPECIAL.value if special else "",
            reason=f"a {kind.value} has no content that could be stored" if special else "",
        )

    def _real(self, path: bytes) -> bytes:
        return self._root + path.removesuffix(b"/")


def _times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _xattrs(file: bytes | int) -> dict[str, str]:
    """Read extended attributes, if the file system has them, without SELinux labels, which belong to the place."""
    follow = isinstance(file, int)
    try:
        names = os.listxattr(file, follow_symlinks=follow)
        values = (
            (name, os.getxattr(file, name, follow_symlinks=follow))
            for name in sorted(names)
            if name != "security.selinux"
        )
        return {quote_from_bytes(os.fsencode(name)): b64encode(value).decode() for name, value in values}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES):
            return {}
        raise


def _names(directory: bytes) -> list[bytes]:
    """List names in the order of core.tree. Names alone: a directory may hold a million."""
    with os.scandir(directory) as found:
        return sorted(item.name + b"/" if item.is_dir(follow_symlinks=False) else item.name for item in found)


def _blocks(descriptor: int, size: int) -> Iterator[bytes]:
    """Read at most `size` bytes: a log that grows faster than it is read would have no end."""
    while size > 0 and (block := os.read(descriptor, min(BLOCK_BYTES, size))):
        size -= len(block)
        yield block


def _type_of(name: bytes) -> FileType:
    return FileType.DIRECTORY if name.endswith(b"/") else FileType.FILE


@lru_cache(maxsize=2048)
def _name(lookup: Callable[[int], Sequence[Any]], number: int) -> str:
    try:
        return str(lookup(number)[0])
    except KeyError:
        return ""
