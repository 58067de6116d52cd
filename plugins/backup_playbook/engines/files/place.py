"""A directory that files are restored into. Nothing outside of it can be reached, whatever a backup names.

Every path is opened component by component from the directory's own descriptor, and no symbolic link is followed on the
way: one that was restored, or put there meanwhile, leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path
from threading import RLock

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.tree import Entry, FileType, unsafe
from backup_playbook.streams.blocks import Blocks

_HOLE = bytes(64 << 10)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_TEMPORARY = b".restore-"


@dataclass
class Place:
    """Use as a context manager. set_aside: the folder below `root` that what is replaced is moved to."""

    root: Path
    set_aside: bytes = b""
    owners: bool = field(default_factory=lambda: os.geteuid() == 0)
    """Whether owners can be restored: only root may give files away."""
    made: set[bytes] = field(default_factory=set)
    """The folders that were not there, without a slash; not those below `set_aside`. Only their owner may enter them,
    until their attributes are set."""
    _descriptor: int = -1
    _making: RLock = field(default_factory=RLock)
    """Held while a folder is made: setting aside what is in its way makes folders too."""

    def __enter__(self) -> Place:
        self._descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def status(self, path: bytes) -> os.stat_result | None:
        """Of what is there now; None when nothing is."""
        try:
            with self._parent(path, create=False) as (folder, name):
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, path: bytes) -> Iterator[bytes]:
        with self._parent(path, create=False) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            while block := file.read(1 << 20):
                yield block

    def target(self, path: bytes) -> bytes:
        """Of a symbolic link."""
        with self._parent(path, create=False) as (folder, name):
            return os.readlink(name, dir_fd=folder)

    def set_link_attributes(self, entry: Entry) -> None:
        with self._parent(entry.path, create=False) as (folder, name):
            self._link_attributes(entry, folder, name)

    def make_folder(self, path: bytes) -> None:
        with self._parent(path + b"x", create=True):
            pass

    def write(self, entry: Entry, content: Blocks) -> None:
        """A file with its attributes. It appears when all of `content` has come without an exception."""
        temporary = _TEMPORARY + secrets.token_hex(6).encode()
        with self._parent(entry.path, create=True) as (folder, name):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    for block in content:
                        if entry.sparse:
                            _write_sparse(file.fileno(), block)
                        else:
                            file.write(block)
                    file.flush()
                    if entry.sparse:
                        os.ftruncate(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR))
                    self._attributes(entry, descriptor)
                self._make_room(entry.path, folder, name)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise

    def link(self, entry: Entry) -> None:
        with self._parent(entry.path, create=True) as (folder, name):
            self._make_room(entry.path, folder, name)
            os.symlink(entry.target, name, dir_fd=folder)
            self._link_attributes(entry, folder, name)

    def set_attributes(self, entry: Entry) -> None:
        """Of a file or folder that is there."""
        with self._opened(entry.path) as descriptor:
            self._attributes(entry, descriptor)

    def set_usual_mode(self, path: bytes) -> None:
        """Of a folder of which no attributes are known: what mkdir gives."""
        with self._opened(path) as descriptor:
            os.fchmod(descriptor, 0o777 & ~_umask())

    def _link_attributes(self, entry: Entry, folder: int, name: bytes) -> None:
        if self.owners:
            os.chown(name, *_owner(entry), dir_fd=folder, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    @contextlib.contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        with self._parent(path, create=False) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    def _attributes(self, entry: Entry, descriptor: int) -> None:
        if not entry.has_attributes:
            return  # it stays its owner's only
        if self.owners:
            os.chown(descriptor, *_owner(entry))
        os.chmod(descriptor, entry.mode)  # after the owner: a new one clears setuid
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))

    def _make_room(self, path: bytes, folder: int, name: bytes) -> None:
        """Move what is in the way aside."""
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not self.set_aside:
            raise RestoreError(
                f"{self.root} has {path!r} already.", "Restore into a directory that is empty, or does not exist."
            )
        with self._parent(self.set_aside + path.removesuffix(b"/"), create=True) as (aside, kept):
            try:
                os.rename(name, _free(kept, aside), src_dir_fd=folder, dst_dir_fd=aside)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                raise RestoreError(
                    f"{path!r} is on a file system of its own below {self.root}, and cannot be set aside.",
                    "Nothing of it was replaced. Restore it into a new directory, and copy it from there.",
                ) from error

    @contextlib.contextmanager
    def _parent(self, path: bytes, *, create: bool) -> Iterator[tuple[int, bytes]]:
        """The folder that holds `path`, open, and the last component."""
        if unsafe(path):
            raise RestoreError(
                f"The backup names the path {path!r}, which no directory can hold, or which leads out of it.",
                "Nothing was written there. Use another backup, and find out who wrote to the bucket.",
            )
        *folders, name = path.removesuffix(b"/").split(b"/")
        here = os.dup(self._descriptor)
        try:
            for depth, step in enumerate(folders, start=1):
                inner = self._step(here, step, b"/".join(folders[:depth]), create=create)
                os.close(here)
                here = inner
            yield here, name
        finally:
            os.close(here)

    def _step(self, here: int, step: bytes, path: bytes, *, create: bool) -> int:
        try:
            return os.open(step, _FOLDER, dir_fd=here)
        except OSError as error:
            if not create or error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
        with self._making:
            try:  # another thread was faster
                return os.open(step, _FOLDER, dir_fd=here)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    self._make_room(path, here, step)
            os.mkdir(step, 0o700, dir_fd=here)
            if not self.set_aside or not (path + b"/").startswith(self.set_aside):
                self.made.add(path)
            return os.open(step, _FOLDER, dir_fd=here)


def _umask() -> int:
    """There is no way to read it without setting it; meanwhile nothing that is made is open to others."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def _free(name: bytes, folder: int) -> bytes:
    """The name, or one like it: what was set aside before stays."""
    for number in count():
        found = b"%s~%d" % (name, number) if number else name
        try:
            os.stat(found, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return found
    raise AssertionError


def _write_sparse(descriptor: int, block: bytes) -> None:
    """Zeros become a hole."""
    for start in range(0, len(block), len(_HOLE)):
        piece = block[start : start + len(_HOLE)]
        if piece == _HOLE[: len(piece)]:
            os.lseek(descriptor, len(piece), os.SEEK_CUR)
        else:
            os.write(descriptor, piece)


def is_plain(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def kind_of(status: os.stat_result) -> FileType | None:
    kinds = {stat.S_IFREG: FileType.FILE, stat.S_IFDIR: FileType.DIRECTORY, stat.S_IFLNK: FileType.SYMLINK}
    return kinds.get(stat.S_IFMT(status.st_mode))


def _owner(entry: Entry) -> tuple[int, int]:
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
