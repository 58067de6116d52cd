"""A directory that files are restored into. Nothing outside of it can be reached, whatever a backup names.

Every path is opened component by component from the directory's own descriptor, and no symbolic link is followed on the
way: one that was restored, or put there meanwhile, leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from backup_playbook.core.errors import RestoreError
from backup_playbook.core.tree import Entry, unsafe
from backup_playbook.engines.files.file_system import (
    change_mode,
    free_name,
    open_readable,
    other_xattrs,
    owner_of,
    set_mode,
    umask,
    write_sparse,
)
from backup_playbook.streams.blocks import Blocks

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
"""A folder that may be entered need not be readable."""
_TEMPORARY = b".restore-"
_ELSEWHERE = "Restore it into a new directory, or fetch it under another name, and find out why."
_REMEDIES = {
    errno.EPERM: "Look whether it is immutable (lsattr), or let its owner, or root, run this task.",
    errno.EACCES: "Let this worker's user enter, read and write there, let root run this task, or restore it into a "
    "new directory.",
    errno.ENAMETOOLONG: "Fetch it under a shorter name.",
    errno.EXDEV: "Nothing of it was replaced. Restore it into a new directory, and copy it from there.",
}
_OF_ALL = {
    errno.ENOSPC: "Free some space, and clear this task.",
    errno.EDQUOT: "Raise the quota of this worker's user, and clear this task.",
    errno.EROFS: "Mount it for writing, and clear this task.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n) of the worker, and clear this task.",
    errno.ENFILE: "Raise the limit of open files of the machine, and clear this task.",
    errno.ENOMEM: "Give the worker more memory, and clear this task.",
    errno.EIO: "Look at the disk, and at the kernel's log; clear this task when it is well.",
    errno.ESTALE: "Mount it again, and clear this task.",
    errno.ENOTCONN: "Mount it again, and clear this task.",
}
"""Remedies for what concerns all paths."""


class PathError(RestoreError):
    """One path cannot be where it belongs. Others can."""


@dataclass
class Place:
    """An open directory; a context manager. All verbs raise PathError for one path alone, else RestoreError.

    set_aside: folder below `root` for what is replaced; with it, `root` is in use, and equal files stay.
    """

    root: Path
    set_aside: bytes = b""
    owners: bool = field(default_factory=lambda: os.geteuid() == 0)
    """Restore owners: only root may give files away."""
    made: set[bytes] = field(default_factory=set)
    """Folders that were not there, without a slash; not those below `set_aside`.

    Their owner may enter them and write there until their attributes are set for good.
    """
    _descriptor: int = -1
    _making: RLock = field(default_factory=RLock)
    """Held while a folder is made: setting aside what is in its way makes folders too."""

    def __enter__(self) -> Place:
        with self._explained(b""):
            self._descriptor = os.open(self.root, _FOLDER & ~os.O_NOFOLLOW)
        there = self.set_aside and self.status(self.set_aside)
        if there and not stat.S_ISDIR(there.st_mode):
            os.close(self._descriptor)
            raise RestoreError(
                f"{self._named(self.set_aside)} is no folder: what is replaced could not be set aside there.",
                "Find out who put it there, give it another name, and clear this task. Nothing was changed.",
            )
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def status(self, path: bytes) -> os.stat_result | None:
        """Look at what is there now; None when nothing is."""
        with self._explained(path):
            try:
                with self._parent(path, create=False) as (folder, name):
                    return os.stat(name, dir_fd=folder, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read(self, path: bytes) -> Iterator[bytes]:
        """Read a file in blocks."""
        with self._explained(path):
            with self._parent(path, create=False) as (folder, name):
                descriptor = open_readable(name, folder)
            with os.fdopen(descriptor, "rb") as file:
                while block := file.read(1 << 20):
                    yield block

    def target(self, path: bytes) -> bytes:
        """Read where a symbolic link leads."""
        with self._explained(path), self._parent(path, create=False) as (folder, name):
            return os.readlink(name, dir_fd=folder)

    def make_folder(self, entry: Entry) -> None:
        """Make a folder that is not there, with its attributes at once: a second try takes it as it finds it.

        Its owner may write there until they are set again, when all is in it.
        """
        with self._explained(entry.path), self._parent(entry.path + b"x", create=True):
            pass
        if entry.path.removesuffix(b"/") in self.made:
            self.set_attributes(entry, stat.S_IRWXU)

    @contextlib.contextmanager
    def opened_to_owner(self, folders: Iterable[bytes]) -> Iterator[Mapping[bytes, os.stat_result]]:
        """Open our own folders to us for a while where their modes forbid it. Yields what they were.

        folders: outermost first; root needs none.
        """
        found: dict[bytes, os.stat_result] = {}
        try:
            for path in folders:
                with contextlib.suppress(PathError):  # what is not ours is said where it stops somebody
                    status = self.status(path)
                    if status and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                        mode = stat.S_IMODE(status.st_mode)
                        if mode & stat.S_IRWXU != stat.S_IRWXU:
                            self._set_mode(path, mode | stat.S_IRWXU)
                            found[path] = status
            yield found
        finally:
            for path, status in reversed(found.items()):
                with contextlib.suppress(PathError):
                    self._set_mode(path, stat.S_IMODE(status.st_mode))

    def write_entry(self, entry: Entry, content: Blocks) -> None:
        """Write a file with its attributes. It appears when all of `content` has come without an exception."""
        temporary = _TEMPORARY + secrets.token_hex(6).encode()
        with self._explained(entry.path), self._parent(entry.path, create=True) as (folder, name):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    for block in content:
                        if entry.sparse:
                            write_sparse(file.fileno(), block)
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
        """Make a symbolic link with its attributes."""
        with self._explained(entry.path), self._parent(entry.path, create=True) as (folder, name):
            self._make_room(entry.path, folder, name)
            os.symlink(entry.target, name, dir_fd=folder)
            if self.owners:
                os.chown(name, *owner_of(entry), dir_fd=folder, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def set_attributes(self, entry: Entry, more: int = 0) -> None:
        """Set the attributes of a file or folder. more: further bits of the mode."""
        with self._opened(entry.path) as descriptor:
            self._attributes(entry, descriptor, more)

    def other_xattrs(self, entry: Entry) -> tuple[str, str]:
        """Compare extended attributes; see `file_system.other_xattrs`."""
        with self._opened(entry.path) as descriptor:
            return other_xattrs(descriptor, entry)

    def set_usual_mode(self, path: bytes) -> None:
        """Give a folder without known attributes the mode that mkdir gives."""
        with self._opened(path) as descriptor:
            os.fchmod(descriptor, 0o777 & ~umask())

    def _set_mode(self, path: bytes, mode: int) -> None:
        with self._explained(path), self._parent(path, create=False) as (folder, name):
            change_mode(name, folder, mode)

    def _named(self, path: bytes) -> str:
        return f"{self.root}/{path.removesuffix(b'/').decode(errors='backslashreplace')}" if path else str(self.root)

    @contextlib.contextmanager
    def _explained(self, path: bytes) -> Iterator[None]:
        """Turn OSErrors into sentences. Raises PathError for what is of this path only, else RestoreError."""
        try:
            yield
        except OSError as error:
            what = f"{self._named(path)} cannot be restored or read: {error.strerror or error}."
            if remedy := _OF_ALL.get(error.errno or 0):
                raise RestoreError(what, remedy) from error
            raise PathError(what, _REMEDIES.get(error.errno or 0, _ELSEWHERE)) from error

    @contextlib.contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        with self._explained(path), self._parent(path, create=False) as (folder, name):
            descriptor = open_readable(name, folder)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    def _attributes(self, entry: Entry, descriptor: int, more: int = 0) -> None:
        if not entry.has_attributes:
            return  # it stays its owner's only
        if self.owners:
            os.chown(descriptor, *owner_of(entry))
        set_mode(descriptor, entry, more)  # after the owner: a new one clears setuid
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))

    def _make_room(self, path: bytes, folder: int, name: bytes) -> None:
        """Set aside what is in the way."""
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not self.set_aside:
            raise PathError(
                f"{self._named(path)} is there already.", "Restore into a directory that is empty, or does not exist."
            )
        with self._parent(self.set_aside + path.removesuffix(b"/"), create=True) as (other, free):
            os.rename(name, free_name(free, other), src_dir_fd=folder, dst_dir_fd=other)

    @contextlib.contextmanager
    def _parent(self, path: bytes, *, create: bool) -> Iterator[tuple[int, bytes]]:
        """The folder that holds `path`, open, and the last component."""
        if unsafe(path):
            raise PathError(
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

    def _refuse_link(self, here: int, step: bytes, path: bytes) -> None:
        """Raise PathError for a link where a folder belongs: somebody may have put its content elsewhere on purpose."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(step, dir_fd=here, follow_symlinks=False).st_mode):
                raise PathError(
                    f"{self._named(path)} is a symbolic link, where the backup has a folder.",
                    "Nothing was written there. If it is right, restore into a new directory, and copy from there to "
                    "where it leads. Else remove it, and clear this task.",
                )

    def _step(self, here: int, step: bytes, path: bytes, *, create: bool) -> int:
        try:
            return os.open(step, _FOLDER, dir_fd=here)
        except OSError as error:
            set_aside = self.set_aside and (path + b"/").startswith(self.set_aside)
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and not set_aside:
                self._refuse_link(here, step, path)
            if not create or error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
        with self._making:
            try:  # another thread was faster
                return os.open(step, _FOLDER, dir_fd=here)
            except OSError as error:
                if error.errno != errno.ENOENT and set_aside:
                    step = free_name(step, here, or_folder=True)  # what was set aside before stays as it is
                elif error.errno != errno.ENOENT:
                    self._make_room(path, here, step)
            with contextlib.suppress(FileExistsError) if set_aside else contextlib.nullcontext():
                os.mkdir(step, 0o700, dir_fd=here)
            if not set_aside:
                self.made.add(path)
            return os.open(step, _FOLDER, dir_fd=here)
