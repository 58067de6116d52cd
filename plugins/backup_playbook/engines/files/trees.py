"""Where files are: what the engine asks of a directory, of a bucket, and of a backup that is copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from backup_playbook.core.tree import Entry
from backup_playbook.streams.blocks import Blocks
from backup_playbook.streams.processes import Cancellation

T = TypeVar("T")


class Tree(Protocol):
    """Something with files in it."""

    @property
    def details(self) -> dict[str, Any]:
        """For the manifest: what and where it is."""
        ...

    def scan(self, cancellation: Cancellation) -> Iterator[Entry]:
        """All entries in order, without content. Raises SourceError when the tree itself cannot be read."""
        ...

    def read(self, entry: Entry, consume: Callable[[Blocks], T]) -> tuple[Entry, T]:
        """Give the content to `consume`; return the entry as it was meanwhile, and the result.

        Of content that changes while it is read, `consume` is called again; at last the entry says so. Raises
        FileNotFoundError when it is gone, other OSErrors when it cannot be read.
        """
        ...
