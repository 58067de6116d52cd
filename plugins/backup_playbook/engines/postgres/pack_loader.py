"""Loading of packs: each table is committed once all of it has been compared with the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import psycopg
from psycopg import Copy

from backup_playbook.core.errors import VerificationError
from backup_playbook.core.model import TablePart, TableRecord
from backup_playbook.engines.postgres.copy_commands import copy_from_line
from backup_playbook.engines.postgres.packs import PackReader

_FORGED = "Use another backup, or the off-site copy, and find out who wrote to the bucket."
_NO_PART = TablePart(object="", rows=0, bytes=0, sha256="")


class PackLoader(PackReader):
    """Loads a pack by our own COPY statements: nothing in it is ever run as SQL.

    stack: unwound when reading fails. wanted: whether a table's rows are. refused: called for each table that the
    server does not take; may raise.
    """

    def __init__(
        self,
        parts: Iterable[tuple[TableRecord, TablePart]],
        stack: ExitStack,
        wanted: Callable[[TableRecord], bool],
        copying: Callable[[TableRecord], AbstractContextManager[Copy]],
        refused: Callable[[TableRecord, psycopg.Error], None],
        codec: str,
    ) -> None:
        super().__init__()
        self._parts, self._stack, self._wanted, self._copying = iter(parts), stack, wanted, copying
        self._refused, self._codec = refused, codec
        self._table: TableRecord
        self._part: TablePart
        self._copy: Copy | None = None

    def begin_table(self, header: bytes) -> None:
        """Compare the header with the manifest, and begin a COPY. Raises VerificationError."""
        table, self._part = next(self._parts, (None, _NO_PART))
        if table is None or header != copy_from_line(table.target, table.columns).encode(self._codec):
            raise VerificationError(
                f"A pack goes on with {header[:200].decode(self._codec, errors='replace')!r} where the manifest has "
                f"{f'the table {table.namespace}.{table.name}' if table else 'its end'}.",
                _FORGED,
            )
        self._table = table
        # most tables of a database with thousands of them are empty
        if self._part.bytes and self._wanted(table):
            with self._noticing_refusal():
                self._copy = self._stack.enter_context(self._copying(table))

    def take_rows(self, rows: memoryview) -> None:
        """Write the rows."""
        if self._copy:
            with self._noticing_refusal():
                self._copy.write(rows)

    def end_table(self) -> None:
        """Commit the rows. Raises VerificationError when they are not those of the manifest."""
        found = self.tables[-1]
        if (found.bytes, found.sha256) != (self._part.bytes, self._part.sha256):
            raise VerificationError(
                f"A pack has other rows than the manifest says for {found.header.decode(self._codec)!r}.", _FORGED
            )
        with self._noticing_refusal():
            self._stack.close()
        self._copy = None

    @contextmanager
    def _noticing_refusal(self) -> Iterator[None]:
        """Go on with the next table after one that is refused."""
        try:
            yield
        except psycopg.Error as error:
            self._copy = None
            with suppress(psycopg.Error):
                self._stack.__exit__(type(error), error, error.__traceback__)
            self._refused(self._table, error)
