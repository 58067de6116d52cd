"""Is a restored database equal to its backup? Every row, sequence, large object and definition is read and compared.

A table that was loaded by the transaction that emptied it is read back in the same order: its COPY text has the same
digest. The few that have no order are compared as sets of rows. Definitions are compared by their text; where that is
another (a newer server, or a newer pg_dump, prints them in other words; so does any server after a first restore), with
the text that this server prints for the definitions of the backup, restored into an empty database.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Literal

from backup_playbook.core.errors import ProcessFailedError, RestoreError, UnequalError
from backup_playbook.core.holdings import counted
from backup_playbook.core.model import ObjectKind, TableRecord
from backup_playbook.core.proof import Proof, TableProof
from backup_playbook.engines.postgres.archive import (
    REFRESH,
    SCHEMA_SECTIONS,
    differences,
    is_left_out_sequence,
    restorable,
)
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.constraint_triggers import switched_off
from backup_playbook.engines.postgres.copy_commands import copy_out, in_snapshot, pack_script, psql
from backup_playbook.engines.postgres.database_properties import setting_statements
from backup_playbook.engines.postgres.encodings import of_backup
from backup_playbook.engines.postgres.excluded import recomputed
from backup_playbook.engines.postgres.generated import DETAIL as GENERATED
from backup_playbook.engines.postgres.generated import GeneratedColumns, line_of, remedy_for
from backup_playbook.engines.postgres.inventory import Table, quoted, stored_as_values
from backup_playbook.engines.postgres.large_objects import large_object_digest
from backup_playbook.engines.postgres.packs import PackedRows, PackReader
from backup_playbook.engines.postgres.partial import read_part
from backup_playbook.engines.postgres.plan import PackStream, TableStream, plan_streams
from backup_playbook.engines.postgres.preflight import clients_for
from backup_playbook.engines.postgres.restore import RestoreOptions
from backup_playbook.engines.postgres.rights import ALL_RIGHTS, rights_of
from backup_playbook.engines.postgres.row_digests import PartDigests, RowMultiset, keeps_order
from backup_playbook.engines.postgres.sequences import read_setval_lines, sequence_literal, setval_lines
from backup_playbook.engines.postgres.snapshot import Snapshot
from backup_playbook.engines.postgres.table_of_contents import Entry, read_entries
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams import processes
from backup_playbook.streams.blocks import drain, tap
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation, Word
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)

LOCK_TIMEOUT_SECONDS = 30.0
PROBLEMS_SHOWN = 20
_UNEQUAL = (
    "Do not rely on this backup before you know why. Restore it again: a difference that stays is in the "
    "backup, one that goes was made in the copy. Report it in both cases."
)
_WHOLE_TABLES = 1 << 60

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
    server = replace(server, encoding=of_backup(reader.manifest.details))
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
        self._clients = clients_for(self._manifest, self._contents.server.major)
        rights = ALL_RIGHTS if options.owners else rights_of(snapshot.connection)
        self._part = read_part(reader, options.only, options.leave_out, rights)
        self._environment = snapshot.server.environment(PGCLIENTENCODING=self._manifest.details["encoding"])
        self._database = f"--dbname={snapshot.server.client_database}"
        self._psql = [*psql(self._clients.psql), self._database]
        details = self._manifest.details
        self._unlogged = {
            (one, other) for one, other in (*details.get("unlogged", ()), *details.get("without_rows", ()))
        }
        self._lock = threading.Lock()
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
        """Those of the database, and of roles in it, which only a restore with owners brings."""
        backed_up = self._manifest.details["database"]
        name = quoted(backed_up["datname"])
        expected = set(setting_statements(backed_up, name))
        found = set(setting_statements(self._contents.properties, name))
        for statement in expected ^ found:
            where = "of the backup is missing" if statement in expected else "is not in the backup"
            self._problem(f"The setting {statement.rstrip(';')} {where}.")

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
        """The tables that both have, with the same columns, and whose rows were restored; what else there is becomes a
        problem."""
        expected = {(item.namespace, item.name): item for item in self._manifest.tables if self._part.has(item)}
        found = {(item.namespace, item.name): item for item in self._contents.tables}
        pairs = []
        for name in sorted(expected.keys() | found.keys()):
            table, record = found.get(name), expected.get(name)
            if table is None:
                self._problem(f"The table {'.'.join(name)} is missing.")
            elif record is None and name in self._unlogged:
                continue
            elif record is None:
                self._problem(f"The table {'.'.join(name)} is not in the backup.")
            elif set(table.columns) != set(record.columns):
                self._problem(
                    f"The table {'.'.join(name)} has the columns {', '.join(table.columns)} where the backup has "
                    f"{', '.join(record.columns)}."
                )
            elif users := self._readers_of_moved(table, record):
                self._problem(
                    f"The columns of {table.label} come in the order {', '.join(table.columns)}, where the backup has "
                    f"{', '.join(record.columns)}: rows of it that are values in {', '.join(users)} mean something "
                    "else."
                )
            elif self._part.has_rows_of(record):
                # what a parent got after its children comes before what they added, in a copy
                pairs.append((replace(table, columns=list(record.columns)), record))
        return pairs

    def _readers_of_moved(self, table: Table, record: TableRecord) -> list[str]:
        if table.columns == list(record.columns):
            return []
        return stored_as_values(self._snapshot.connection, table.oid)

    # what is compared

    def _fixed_jobs(self) -> Iterator[Job[None]]:
        yield Job(1 << 40, self._compare_schema)
        yield Job(1 << 39, self._compare_large_objects)
        yield Job(0, self._compare_sequences)

    def _table_jobs(self, pairs: Sequence[Pair]) -> Iterator[Job[None]]:
        records = {table.oid: record for table, record in pairs}
        in_order = [pair for pair in pairs if keeps_order(pair[1])]
        whole = [table for table, record in in_order if len(record.parts) == 1]
        for stream in plan_streams(whole, self._streams, _WHOLE_TABLES):
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
        tables = [TableStream("", table, None, 0) for table in stream.tables]
        script = pack_script(self._snapshot.id, tables, self._snapshot.settings).encode(self._codec)
        content = processes.pipe(
            [script], [*self._psql, "-f", "-"], env=self._environment, cancellation=self._cancellation
        )
        drain(tap(self._tracked(content, stream.estimate), reader.update))
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
        self._problem(_difference(table.label, rows, record.rows))

    def _compare_in_any_order(self, groups: dict[tuple[str, str], list[Pair]]) -> None:
        """Where the server distributes rows, or keeps them, as it likes: the sum of the digests of all rows."""
        expected = self._archived_rows([record for group in groups.values() for _, record in group])
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
                self._problem(_difference(".".join(target), found.rows, rows))

    def _archived_rows(self, records: Sequence[TableRecord]) -> dict[tuple[str, str], RowMultiset]:
        """By target, with the columns in the order of its first record."""
        columns: dict[tuple[str, str], Sequence[str]] = {}
        found: dict[tuple[str, str], RowMultiset] = {}
        for record in records:
            first = columns.setdefault(record.target, record.columns)
            order = None if first == record.columns else [record.columns.index(name) for name in first]
            found[record.namespace, record.name] = RowMultiset(order)
        names = {part.object for record in records for part in record.parts}
        for item in (item for item in self._manifest.objects if item.name in names):
            held = [record for record, _ in self._manifest.parts_by_object[item.name]]
            sums = [found.get((record.namespace, record.name)) for record in held]
            if item.kind is ObjectKind.PACK:
                drain(tap(self._reader.content(item), PackedRows(sums).update))
            elif (rows := sums[0]) is not None:
                drain(tap(self._reader.content(item), rows.update))
        whole: dict[tuple[str, str], RowMultiset] = defaultdict(RowMultiset)
        for record in records:
            whole[record.target].add(found[record.namespace, record.name])
        return whole

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
                self._problem(f"The sequence {name} is missing.")
            elif name not in expected:
                self._problem(f"The sequence {name} is not in the backup.")
            elif expected[name] != found[name]:
                self._problem(
                    f"The sequence {name} is at {_value(found[name])} where the backup has {_value(expected[name])}."
                )
        self._sequences = len(found)

    def _compare_large_objects(self) -> None:
        expected = self._manifest.details["large_objects"] if self._part.whole else 0
        found = self._contents.server.large_objects
        if found != expected:
            self._problem(f"There are {found} large objects where the backup has {expected}.")
        elif found and large_object_digest(self._snapshot.connection) != self._manifest.details["large_object_digest"]:
            self._problem(f"Not all of the {found} large objects have the numbers and bytes of the backup.")

    def _compare_schema(self) -> None:
        archived = self._part.definitions(owners=self._owners)
        found = self._definitions(self._snapshot.server, f"--snapshot={self._snapshot.id}")
        self._schema_objects, problems = differences(archived, found, owners=self._owners)
        if problems:
            log.info("%d definitions read otherwise: they are restored apart, and compared again.", len(problems))
            with self._defined() as server:
                expected = self._definitions(server)
            expected += [one for one in archived if one.kind == REFRESH]
            self._schema_objects, problems = differences(expected, found, owners=self._owners)
        for problem in problems:
            self._problem(problem)

    def _compare_generated(self, pairs: Sequence[Pair]) -> None:
        columns = GeneratedColumns(
            self._snapshot, self._psql, self._environment, self._streams, self._cancellation,
            lambda blocks: self._tracked(blocks, 0),
        )  # fmt: skip
        expected = [one for one in self._manifest.details.get(GENERATED, ()) if line_of(one) not in self._part.anew]
        self._anew = columns.differences([table for table, _ in pairs], expected)

    def _recomputed(self, pairs: Sequence[Pair]) -> tuple[str, ...]:
        views = [one for one in self._part.entries if one.kind == REFRESH]
        known = GENERATED in self._manifest.details
        unknown = 0 if known else sum(len(table.generated) for table, _ in pairs)
        return recomputed(len(views), unknown, self._part.anew)

    # helpers

    def _definitions(self, server: PostgresServer, *words: str) -> list[Entry]:
        encoding = self._manifest.details["encoding"]
        environment = server.environment(PGCLIENTENCODING=encoding, PGOPTIONS=self._snapshot.options)
        argv = [str(self._clients.pg_dump), "-w", f"--dbname={server.client_database}", *SCHEMA_SECTIONS, *words]
        archive = b"".join(processes.output(argv, env=environment, cancellation=self._cancellation))
        return restorable(read_entries(archive), owners=self._owners)

    def _rows(self, table: Table) -> Iterator[bytes]:
        stream = TableStream("", table, None, table.bytes)
        command = f"{in_snapshot(self._snapshot.id, self._snapshot.settings)}{copy_out(stream)}"
        return self._tracked(self._output([*self._psql, "-c", command.encode(self._codec)]), table.bytes)

    def _output(self, argv: Sequence[Word]) -> Iterator[bytes]:
        return processes.output(argv, env=self._environment, cancellation=self._cancellation)

    def _tracked(self, blocks: Iterable[bytes], estimate: int) -> Iterator[bytes]:
        try:
            yield from self._progress.track(blocks, estimate)
        except ProcessFailedError as error:
            raise RestoreError(
                f"{self._snapshot.server.label} could not be read back: {error.what}",
                "Look at the target server's log for this time; then prove it again.",
            ) from error

    def _proven(self, record: TableRecord, how: Literal["bytes", "rows in any order"]) -> None:
        with self._lock:
            self._proofs.append(TableProof(record.namespace, record.name, record.rows, record.bytes, how))

    def _problem(self, sentence: str) -> None:
        with self._lock:
            self._problems.append(sentence)


def _difference(label: str, rows: int, expected: int) -> str:
    if rows == expected:
        return f"The table {label} has the {counted(rows, 'row')} of the backup, but other values in them."
    return f"The table {label} has {counted(rows, 'row')} where the backup has {expected:,}."


def _value(setval: str) -> str:
    """`41, called`, of a statement as `setval_line` writes it."""
    value, called = setval.removesuffix(");\n").rsplit(", ", 2)[1:]
    return f"{value} ({'' if called == 'true' else 'not '}called)"
