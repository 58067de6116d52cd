"""Proof that a restored database equals its backup: all rows, sequences, large objects and definitions are compared.

A table that was loaded by the transaction that emptied it is read back in the same order: its COPY text has the same
digest. The few that have no order are compared as sets of rows. Definitions are compared by their text; where that is
another (a newer server, or a newer pg_dump, prints them in other words; so does any server after a first restore), with
the text that this server prints for the definitions of the backup, restored into an empty database.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Literal

from backup_playbook.core.errors import ProcessFailedError, RestoreError, UnequalError
from backup_playbook.core.model import ObjectKind, TableRecord
from backup_playbook.core.proof import Proof, TableProof
from backup_playbook.core.words import counted
from backup_playbook.engines.postgres.archive import (
    REFRESH,
    SCHEMA_SECTIONS,
    differences,
    is_left_out_sequence,
    restorable,
)
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.constraint_triggers import switched_off
from backup_playbook.engines.postgres.copy_commands import copy_out
from backup_playbook.engines.postgres.database_properties import setting_statements
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.excluded import recomputed
from backup_playbook.engines.postgres.generated import GeneratedColumns, remedy_for
from backup_playbook.engines.postgres.inventory import Table, quoted
from backup_playbook.engines.postgres.large_objects import large_object_digest
from backup_playbook.engines.postgres.packs import PackReader, archived_rows
from backup_playbook.engines.postgres.partial import read_part
from backup_playbook.engines.postgres.plan import WHOLE_TABLES, PackStream, plan_streams
from backup_playbook.engines.postgres.preflight import clients_for
from backup_playbook.engines.postgres.programs import SnapshotPrograms
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.rights import ALL_RIGHTS, rights_of
from backup_playbook.engines.postgres.row_digests import PartDigests, RowMultiset, keeps_order
from backup_playbook.engines.postgres.sequences import read_setval_lines, sequence_literal, setval_lines
from backup_playbook.engines.postgres.snapshot import Snapshot
from backup_playbook.engines.postgres.table_of_contents import Entry, read_entries
from backup_playbook.engines.postgres.types import stored_as_values
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.blocks import drain, tap
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)

LOCK_TIMEOUT_SECONDS = 30.0
PROBLEMS_SHOWN = 20
_UNEQUAL = (
    "Do not rely on this backup before you know why. Restore it again: a difference that stays is in the "
    "backup, one that goes was made in the copy. Report it in both cases."
)

Pair = tuple[Table, TableRecord]
Defined = Callable[[], AbstractContextManager[PostgresServer]]
"""Makes a database with the definitions of the backup alone, restored with the same options, on the same server."""


def prove(
    server: PostgresServer,
    reader: BackupReader,
    cancellation: Cancellation,
    defined: Defined,
    options: RestoreOptions = RestoreOptions(),  # noqa: B008 - frozen
) -> Proof:
    """Compare a database with the backup that it was restored from, with these options.

    Raises UnequalError with everything that differs in `problems`, SourceError when the copy cannot be read,
    RestoreError when `defined` is needed and cannot be made.
    """
    server = replace(server, encoding=PostgresDetails.of(reader.manifest).client_encoding)
    with Snapshot(server, LOCK_TIMEOUT_SECONDS) as snapshot:
        return _Proving(snapshot, reader, cancellation, defined, options).run()


class _Proving:
    def __init__(
        self,
        snapshot: Snapshot,
        reader: BackupReader,
        cancellation: Cancellation,
        defined: Defined,
        options: RestoreOptions,
    ) -> None:
        self._snapshot, self._contents, self._defined = snapshot, snapshot.contents, defined
        self._reader, self._manifest = reader, reader.manifest
        self._cancellation, self._streams, self._owners = cancellation, options.streams, options.owners
        self._codec = snapshot.connection.info.encoding
        rights = ALL_RIGHTS if options.owners else rights_of(snapshot.connection)
        self._part = read_part(reader, options.only, options.leave_out, rights)
        self._details = details = PostgresDetails.of(self._manifest)
        clients = clients_for(self._manifest, self._contents.server.major)
        self._programs = SnapshotPrograms(snapshot, clients, details.encoding, cancellation)
        self._unlogged = {*details.unlogged, *details.without_rows}
        self._proofs: list[TableProof] = []
        self._problems: list[str] = []
        self._anew: dict[str, str] = {}
        self._schema_objects = self._sequences = 0

    def run(self) -> Proof:
        pairs = self._matched()
        with Progress(f"proof of {self._snapshot.server.database}", self._manifest.content_bytes) as self._progress:
            run_jobs([*self._fixed_jobs(), *self._table_jobs(pairs)], self._streams, self._cancellation)
            self._compare_generated(pairs)
        self._problems += switched_off(self._snapshot.connection)
        if self._owners:
            self._compare_settings()
        self._snapshot.require_held()
        if self._problems or self._anew:
            raise self._failure()
        return Proof(
            tables=tuple(sorted(self._proofs, key=lambda item: (item.namespace, item.name))),
            sequences=self._sequences,
            large_objects=self._contents.server.large_objects,
            schema_objects=self._schema_objects,
            left_out=self._part.left_out,
            recomputed=self._recomputed(pairs),
        )

    def _compare_settings(self) -> None:
        """Compare the settings of the database, and of roles in it, which only a restore with owners brings."""
        name = quoted(self._details.database_name)
        expected = set(setting_statements(self._details.database, name))
        found = set(setting_statements(self._contents.properties, name))
        for statement in expected ^ found:
            where = "of the backup is missing" if statement in expected else "is not in the backup"
            self._problems.append(f"The setting {statement.rstrip(';')} {where}.")

    def _failure(self) -> UnequalError:
        problems = sorted([*self._problems, *self._anew.values()])
        remedy = _UNEQUAL if self._problems else remedy_for(self._anew)
        more = len(problems) - PROBLEMS_SHOWN
        return UnequalError(
            f"{self._snapshot.server.label} is not equal to the backup {self._manifest.backup_id} of "
            f"{self._manifest.source}: {' '.join(problems[:PROBLEMS_SHOWN])}{f' And {more} more.' if more > 0 else ''}",
            remedy,
            tuple(problems),
        )

    def _matched(self) -> list[Pair]:
        """Pair the tables of both that have the same columns, and restored rows. All others become problems."""
        expected = {(item.namespace, item.name): item for item in self._manifest.tables if self._part.has(item)}
        found = {(item.namespace, item.name): item for item in self._contents.tables}
        pairs, connection = [], self._snapshot.connection
        for name in sorted(expected.keys() | found.keys()):
            table, record = found.get(name), expected.get(name)
            if table is None:
                self._problems.append(f"The table {'.'.join(name)} is missing.")
            elif record is None and name in self._unlogged:
                continue
            elif record is None:
                self._problems.append(f"The table {'.'.join(name)} is not in the backup.")
            elif set(table.columns) != set(record.columns):
                self._problems.append(
                    f"The table {'.'.join(name)} has the columns {', '.join(table.columns)} where the backup has "
                    f"{', '.join(record.columns)}."
                )
            elif table.columns != list(record.columns) and (users := stored_as_values(connection, table.oid)):
                self._problems.append(
                    f"The columns of {table.label} come in the order {', '.join(table.columns)}, where the backup has "
                    f"{', '.join(record.columns)}: rows of it that are values in {', '.join(users)} mean something "
                    "else."
                )
            elif self._part.has_rows_of(record):
                # what a parent got after its children comes before what they added, in a copy
                pairs.append((replace(table, columns=list(record.columns)), record))
        return pairs

    # what is compared

    def _fixed_jobs(self) -> Iterator[Job[None]]:
        yield Job(1 << 40, self._compare_schema)
        yield Job(1 << 39, self._compare_large_objects)
        yield Job(0, self._compare_sequences)

    def _table_jobs(self, pairs: Sequence[Pair]) -> Iterator[Job[None]]:
        records = {table.oid: record for table, record in pairs}
        in_order = [pair for pair in pairs if keeps_order(pair[1])]
        whole = [table for table, record in in_order if len(record.parts) == 1]
        for stream in plan_streams(whole, self._streams, WHOLE_TABLES):
            if isinstance(stream, PackStream):
                yield Job(stream.estimate, partial(self._compare_pack, stream, records))
            else:
                yield Job(stream.estimate, partial(self._compare_table, stream.table, records[stream.table.oid]))
        for table, record in in_order:
            if len(record.parts) > 1:
                yield Job(table.bytes, partial(self._compare_table, table, record))
        groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
        for pair in pairs:
            if not keeps_order(pair[1]):
                groups[pair[1].target].append(pair)
        if groups:
            yield Job(sum(record.bytes for group in groups.values() for _, record in group),
                      partial(self._compare_in_any_order, groups))  # fmt: skip

    def _compare_table(self, table: Table, record: TableRecord) -> None:
        parts = PartDigests([part.bytes for part in record.parts])
        drain(tap(self._rows(table), parts.update))
        self._judge(table, record, parts.finish() == [(part.bytes, part.sha256) for part in record.parts])

    def _compare_pack(self, stream: PackStream, records: dict[int, TableRecord]) -> None:
        reader = PackReader()
        drain(tap(self._tracked(self._programs.pack(stream.tables), stream.estimate), reader.update))
        for table, packed in zip(stream.tables, reader.finish(), strict=True):
            record = records[table.oid]
            self._judge(table, record, (packed.bytes, packed.sha256) == (record.bytes, record.parts[0].sha256))

    def _judge(self, table: Table, record: TableRecord, equal: bool) -> None:
        if equal:
            self._proven(record, "bytes")
            return
        name = quoted(table.namespace, table.name)
        # a connection of psycopg serves one thread at a time
        query = f"SELECT count(*) FROM ONLY {name} {table.condition}"
        ((rows,),) = self._snapshot.connection.execute(query.encode(self._codec)).fetchall()
        self._problems.append(_difference(table.label, rows, record.rows))

    def _compare_in_any_order(self, groups: dict[tuple[str, str], list[Pair]]) -> None:
        """Compare sums of the digests of all rows, where the server distributes or keeps rows as it likes."""
        expected = archived_rows(self._reader, [record for group in groups.values() for _, record in group])
        for target, group in groups.items():
            found = RowMultiset()
            for table, _ in group:
                # each partition may have an order of columns of its own
                drain(tap(self._rows(replace(table, columns=list(group[0][1].columns))), found.update))
            if found.digest == expected[target].digest:
                for _, record in group:
                    self._proven(record, "rows in any order")
            else:
                rows = sum(record.rows for _, record in group)
                self._problems.append(_difference(".".join(target), found.rows, rows))

    def _compare_sequences(self) -> None:
        content = b"".join(block for item in self._reader.objects(ObjectKind.SEQUENCES)
                           for block in self._reader.content(item))  # fmt: skip
        archived = read_setval_lines(content.decode(self._codec))
        expected = {name: line for name, line in archived.items() if not is_left_out_sequence(name, self._manifest)}
        lines = setval_lines(self._snapshot.connection, self._contents.sequences)
        found = read_setval_lines("".join(lines))
        unlogged = {sequence_literal(*name) for name in self._unlogged}
        for name in expected.keys() | (found.keys() - unlogged):
            if name not in found:
                self._problems.append(f"The sequence {name} is missing.")
            elif name not in expected:
                self._problems.append(f"The sequence {name} is not in the backup.")
            elif expected[name] != found[name]:
                self._problems.append(
                    f"The sequence {name} is at {_value(found[name])} where the backup has {_value(expected[name])}."
                )
        self._sequences = len(found)

    def _compare_large_objects(self) -> None:
        expected = self._details.large_objects if self._part.whole else 0
        found = self._contents.server.large_objects
        if found != expected:
            self._problems.append(f"There are {found} large objects where the backup has {expected}.")
        elif found and large_object_digest(self._snapshot.connection) != self._details.large_object_digest:
            self._problems.append(f"Not all of the {found} large objects have the numbers and bytes of the backup.")

    def _compare_schema(self) -> None:
        archived = self._part.definitions(owners=self._owners)
        found = self._definitions()
        self._schema_objects, problems = differences(archived, found, owners=self._owners)
        if problems:
            log.info("%d definitions read otherwise: they are restored apart, and compared again.", len(problems))
            with self._defined() as server:
                expected = self._definitions(server)
            expected += [one for one in archived if one.kind == REFRESH]
            self._schema_objects, problems = differences(expected, found, owners=self._owners)
        self._problems.extend(problems)

    def _compare_generated(self, pairs: Sequence[Pair]) -> None:
        columns = GeneratedColumns(self._programs, self._streams, lambda blocks: self._tracked(blocks, 0))
        expected = [one for one in self._details.generated or () if one.line not in self._part.anew]
        self._anew = columns.differences([table for table, _ in pairs], expected)

    def _recomputed(self, pairs: Sequence[Pair]) -> tuple[str, ...]:
        views = [one for one in self._part.entries if one.kind == REFRESH]
        unknown = 0 if self._details.generated is not None else sum(len(table.generated) for table, _ in pairs)
        return recomputed(len(views), unknown, self._part.anew)

    # helpers

    def _definitions(self, server: PostgresServer | None = None) -> list[Entry]:
        archive = b"".join(self._programs.archive(SCHEMA_SECTIONS, server))
        return restorable(read_entries(archive), owners=self._owners)

    def _rows(self, table: Table) -> Iterator[bytes]:
        return self._tracked(self._programs.copy(copy_out(table)), table.bytes)

    def _tracked(self, blocks: Iterable[bytes], estimate: int) -> Iterator[bytes]:
        try:
            yield from self._progress.track(blocks, estimate)
        except ProcessFailedError as error:
            raise RestoreError(
                f"{self._snapshot.server.label} could not be read back: {error.what}",
                "Look at the target server's log for this time; then prove it again.",
            ) from error

    def _proven(self, record: TableRecord, how: Literal["bytes", "rows in any order"]) -> None:
        self._proofs.append(TableProof(record.namespace, record.name, record.rows, record.bytes, how))


def _difference(label: str, rows: int, expected: int) -> str:
    if rows == expected:
        return f"The table {label} has the {counted(rows, 'row')} of the backup, but other values in them."
    return f"The table {label} has {counted(rows, 'row')} where the backup has {expected:,}."


def _value(setval: str) -> str:
    """Take `41 (called)` out of a statement of `setval_lines`."""
    value, called = setval.removesuffix(");\n").rsplit(", ", 2)[1:]
    return f"{value} ({'' if called == 'true' else 'not '}called)"
