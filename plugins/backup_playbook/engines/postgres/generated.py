"""Stored generated columns: no backup can restore their values, and a copy may compute others.

The function that computes them may have been replaced since, read other tables, or follow a setting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from backup_playbook.engines.postgres.copy_commands import copy_out
from backup_playbook.engines.postgres.details import GeneratedDigest, Name
from backup_playbook.engines.postgres.inventory import Table
from backup_playbook.engines.postgres.packs import PackReader
from backup_playbook.engines.postgres.plan import WHOLE_TABLES, PackStream, TableStream, plan_streams
from backup_playbook.engines.postgres.programs import SnapshotPrograms
from backup_playbook.engines.postgres.row_digests import RowMultiset, keeps_order
from backup_playbook.streams.blocks import Blocks, Digest, drain, tap
from backup_playbook.streams.parallel import Job, run_jobs


@dataclass(frozen=True)
class GeneratedColumns:
    """Reads those of a snapshot. streams: how many at once. watched: sees each stream, and explains its errors."""

    programs: SnapshotPrograms
    streams: int
    watched: Callable[[Blocks], Blocks]

    def digests(self, tables: Sequence[Table]) -> list[GeneratedDigest]:
        """Digest all their stored generated columns, with the names of tables and columns.

        Rows that a copy has in no order of its own count for the table that distributes them, whatever their order is.
        """
        alone = [replace(table, columns=table.generated) for table in tables if table.generated]
        groups: dict[Name, list[Table]] = defaultdict(list)
        for table in alone:
            if not keeps_order(table):
                groups[table.target].append(table)
        jobs = [Job(sum(one.bytes for one in group), partial(self._in_any_order, name, group))
                for name, group in groups.items()]  # fmt: skip
        for stream in plan_streams([table for table in alone if keeps_order(table)], self.streams, WHOLE_TABLES):
            read = self._pack if isinstance(stream, PackStream) else self._table
            jobs.append(Job(stream.estimate, partial(read, stream)))  # type: ignore[arg-type]
        return [found for group in run_jobs(jobs, self.streams, self.programs.cancellation) for found in group]

    def differences(self, tables: Sequence[Table], expected: Iterable[GeneratedDigest]) -> dict[str, str]:
        """Write a sentence for each table of a copy that does not have the `expected` values, by `line`."""
        known = {one.table: one for one in expected}
        compared = []
        for table in tables:
            wanted = known.get(table.target if not keeps_order(table) else (table.namespace, table.name))
            if wanted and set(wanted.columns) == set(table.generated):
                compared.append(replace(table, generated=list(wanted.columns)))
        return {
            one.line: f"The table {one.namespace}.{one.name} has other values than the backup in what is "
            f"generated: {', '.join(one.columns)}. The same rows: what computes them gives something else now."
            for one in self.digests(compared)
            if one.digest != known[one.table].digest
        }

    def _table(self, stream: TableStream) -> list[GeneratedDigest]:
        digest = Digest()
        drain(tap(self._rows(stream.table), digest.update))
        return [_entry((stream.table.namespace, stream.table.name), stream.table, digest.sha256)]

    def _pack(self, stream: PackStream) -> list[GeneratedDigest]:
        reader = PackReader()
        drain(tap(self.watched(self.programs.pack(stream.tables)), reader.update))
        return [_entry((table.namespace, table.name), table, packed.sha256)
                for table, packed in zip(stream.tables, reader.finish(), strict=True)]  # fmt: skip

    def _in_any_order(self, name: Name, group: Sequence[Table]) -> list[GeneratedDigest]:
        rows = RowMultiset()
        for table in group:  # each partition may have an order of columns of its own
            drain(tap(self._rows(replace(table, columns=group[0].columns)), rows.update))
        return [_entry(name, group[0], f"{rows.digest[0]:064x}")]

    def _rows(self, table: Table) -> Blocks:
        return self.watched(self.programs.copy(copy_out(table)))


def remedy_for(lines: Iterable[str]) -> str:
    """Remedy when nothing else differs."""
    return (
        "All else is equal, the rows too: the backup is good. Only what the server computes from them is not: a "
        "function has changed since they were written, or reads something else. Where the new values will do, start "
        f"again with these lines in `leave_out`: {', '.join(sorted(lines))}"
    )


def _entry(name: Name, table: Table, digest: str) -> GeneratedDigest:
    return GeneratedDigest(namespace=name[0], name=name[1], columns=tuple(table.columns), digest=digest)
