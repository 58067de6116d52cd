"""Interface to a tree of files: a directory, a bucket, or a backup that is copied."""

from __future__ import annotations

import errno
import platform
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from backup_playbook.core.errors import SourceError
from backup_playbook.core.tree import Entry
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Tree(Protocol):
    """Something with files in it."""

    @property
    def details(self) -> dict[str, Any]:
        """Details for the manifest: kind and place."""
        ...

    def scan(self, cancellation: Cancellation) -> Iterator[Entry]:
        """List all entries in order, without content. Raises SourceError when the tree itself cannot be read."""
        ...

    def look_closer(self, entry: Entry) -> Entry:
        """Add what costs too much for scan(), for entries that are new, or seem to have changed.

        Also note whether they can be read, as far as that is known without reading.
        """
        ...

    def read(self, entry: Entry, consume: Callable[[Blocks], T]) -> tuple[Entry, T]:
        """Give the content to `consume`; return the entry as it was meanwhile, and the result.

        When the content changes meanwhile, `consume` is called again; at last the entry says so. Raises
        FileNotFoundError when it is gone, other OSErrors when it cannot be read.
        """
        ...


def why_unreadable(error: OSError) -> str:
    """Return the system's words. Raises SourceError when not the file is to blame, but this worker."""
    why = error.strerror or str(error)
    if error.errno in _EXHAUSTED:
        raise SourceError(
            f"The worker {platform.node()} has run out of what reading files takes: {why}.",
            "Raise its limits (`ulimit -n`, memory), or run fewer tasks on it at once; then clear this task. No file "
            "was given up.",
        ) from error
    return why
