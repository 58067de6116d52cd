"""Backup of a database as streams into a repository: no scratch disk, no whole dump in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from backup_playbook.core.errors import ProcessFailedError, SourceError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject, TablePart, TableRecord
from backup_playbook.core.progress import human_bytes
from backup_playbook.engines.postgres.archive import SCHEMA_SECTIONS
from backup_playbook.engines.postgres.clients import find_clients
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.copy_commands import Pages, copy_out, page_range
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.encodings import of_streams
from backup_playbook.engines.postgres.generated import GeneratedColumns
from backup_playbook.engines.postgres.inventory import Table, quoted
from backup_playbook.engines.postgres.large_objects import large_object_digest
from backup_playbook.engines.postgres.packs import PackReader
from backup_playbook.engines.postgres.plan import CHUNK_BYTES, PackStream, TableStream, plan_streams
from backup_playbook.engines.postgres.programs import SnapshotPrograms
from backup_playbook.engines.postgres.reading_errors import remedy
from backup_playbook.engines.postgres.sequences import setval_lines
from backup_playbook.engines.postgres.server_globals import RolePasswords, read_globals, wants_passwords
from backup_playbook.engines.postgres.snapshot import Snapshot
from backup_playbook.engines.postgres.unprintable import LIMIT, find_row, is_too_large
from backup_playbook.repository.objects import BackupWriter
from backup_playbook.streams.blocks import Blocks, drain, tap
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)

# types whose order is the same for every server and version; by collation "C", texts; and uuids, which have no min()
_ORDERED_KEY_TYPES = frozenset(
    ("smallint", "integer", "bigint", "numeric", "date", "timestamp without time zone", "timestamp with time zone")
)
_TEXT_KEY_TYPES = frozenset(("text", "character varying", "uuid"))


@dataclass(frozen=True)
class Written:
    """A stored object, with the parts of tables in it."""

    item: StoredObject
    parts: tuple[tuple[Table, TablePart], ...] = ()


@dataclass(frozen=True)
class PostgresSource:
    """A database that can be backed up.

    streams: how many run at once. lock_timeout_seconds: how long a table may stay locked by others. chunk_bytes: larger
    tables are read in pieces of about this size, at once. role_passwords: whether the hashes of the passwords of the
    server's roles are stored: when what is stored is encrypted, always, or never. without_rows: `schema.table` of which
    only the definition is kept.
    """

    server: PostgresServer
    streams: int = 2
    lock_timeout_seconds: float = 30.0
    chunk_bytes: int = CHUNK_BYTES
    role_passwords: RolePasswords = "encrypted"
    without_rows: tuple[str, ...] = ()

    def dump(self, writer: BackupWriter, cancellation: Cancellation) -> Manifest:
        """Write a backup of one snapshot, see `engines.contract.Source`."""
        try:
            with Snapshot(self.server, self.lock_timeout_seconds) as snapshot:
                server = snapshot.contents.server
                encoding, clients = of_streams(server.encoding), find_clients(server.major)
                try:
                    return _Dump(self, SnapshotPrograms(snapshot, clients, encoding, cancellation), writer).run()
                except psycopg.errors.LockNotAvailable as error:
                    raise snapshot.locked() from error
        except psycopg.Error as error:
            message = str(error).strip()
            raise SourceError(f"{self.server.label} could not be read: {message}", remedy(message)) from error
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{self.server.label} has a name, a label, a setting or a comment with bytes that are no characters of "
                f"its encoding: {error.object!r}.",
                "Rename it, or write it anew, in characters of the database's encoding; until then, use pg_dump.",
            ) from error


class _Dump:
    def __init__(self, source: PostgresSource, programs: SnapshotPrograms, writer: BackupWriter) -> None:
        self._source, self._programs, self._writer = source, programs, writer
        self._snapshot, self._contents, self._codec = programs.snapshot, programs.snapshot.contents, programs.codec
        self._threads = threading.local()
        self._large_object_digest: str | None = None
        self._role_passwords = False
        self._tables = [table for table in self._contents.tables if table.label not in source.without_rows]

    def run(self) -> Manifest:
        tables = self._tables
        if missing := {*self._source.without_rows} - {table.label for table in self._contents.tables}:
            log.warning("`without_rows` names no table of this database: %s.", ", ".join(sorted(missing)))
        planned = plan_streams(tables, self._source.streams, self._source.chunk_bytes)
        total = sum(stream.estimate for stream in planned)
        log.info(
            "%s: Postgres %s, %d tables, %s, in %d streams, %d at once.",
            self._source.server.label, self._contents.server.version, len(tables), human_bytes(total), len(planned),
            self._source.streams,
        )  # fmt: skip
        with ExitStack() as self._open, Progress(self._source.server.database, total) as self._progress:
            jobs = [*self._fixed_jobs(), *(Job(stream.estimate, self._job(stream)) for stream in planned)]
            written = run_jobs(jobs, self._source.streams, self._programs.cancellation)
            columns = GeneratedColumns(self._programs, self._source.streams, self._explained)
            self._generated = columns.digests(tables)
            self._snapshot.require_held()
        return self._manifest(written)

    def _fixed_jobs(self) -> Iterator[Job[Written]]:
        """List the jobs for all but rows. The schema is slow to read for its size: it starts among the largest."""
        yield Job(1 << 40, lambda: self._archive("schema.dump", ObjectKind.SCHEMA, *SCHEMA_SECTIONS))
        yield Job(1 << 39, self._globals)
        if self._contents.server.large_objects:
            yield Job(1 << 38, self._large_objects)
        if self._contents.sequences:
            yield Job(0, self._sequences)

    def _job(self, stream: TableStream | PackStream) -> Callable[[], Written]:
        if isinstance(stream, PackStream):
            return lambda: self._pack(stream)
        return lambda: self._table(stream)

    # the kinds of stream

    def _archive(self, name: str, kind: ObjectKind, *options: str) -> Written:
        wait = f"--lock-wait-timeout={self._snapshot.settings['lock_timeout']}"
        content = self._explained(self._programs.archive((wait, *options)))
        return Written(self._writer.write(name, kind, content))

    def _globals(self) -> Written:
        database = f"--database={self._snapshot.server.client_database}"
        argv = [str(self._programs.clients.pg_dumpall), "-w", "--globals-only", database]
        wanted = wants_passwords(self._source.role_passwords, encrypted=self._writer.codec.keyring is not None)
        try:
            text, self._role_passwords = read_globals(argv, self._programs.environment, passwords=wanted)
        except ProcessFailedError as error:
            raise self._unreadable(error) from error
        return Written(self._writer.write("globals.sql", ObjectKind.GLOBALS, [text]))

    def _large_objects(self) -> Written:
        self._large_object_digest = large_object_digest(self._reader())
        # leaves exactly the large objects of the data section
        options = ("-Fc", "-Z0", "--section=data", "--exclude-table-data=*.*")
        return self._archive("large_objects.dump", ObjectKind.LARGE_OBJECTS, *options)

    def _sequences(self) -> Written:
        lines = (line.encode(self._codec) for line in setval_lines(self._reader(), self._contents.sequences))
        return Written(self._writer.write("sequences.sql", ObjectKind.SEQUENCES, lines))

    def _table(self, stream: TableStream) -> Written:
        content = self._programs.copy(copy_out(stream.table, stream.pages))
        explained = self._explained(content, [stream.table], stream.pages)
        tracked = self._progress.track(explained, stream.estimate)
        item = self._writer.write(stream.name, ObjectKind.TABLE, tracked, estimate=stream.estimate)
        rows, low, high = self._rows_and_keys(stream)
        part = TablePart(
            object=item.name, rows=rows, bytes=item.content_bytes, sha256=item.content_sha256, key_min=low, key_max=high
        )
        return Written(item, ((stream.table, part),))

    def _pack(self, stream: PackStream) -> Written:
        reader = PackReader()
        content = self._programs.pack(stream.tables)
        tracked = self._progress.track(self._explained(tap(content, reader.update), stream.tables), stream.estimate)
        item = self._writer.write(stream.name, ObjectKind.PACK, tracked, estimate=stream.estimate)
        parts = [
            TablePart(object=item.name, rows=packed.rows, bytes=packed.bytes, sha256=packed.sha256)
            for packed in reader.finish()
        ]
        return Written(item, tuple(zip(stream.tables, parts, strict=True)))

    # helpers

    def _explained(self, blocks: Blocks, tables: Sequence[Table] = (), pages: Pages | None = None) -> Iterator[bytes]:
        """Say what a failed program means for the backup. It copied `tables`, or `pages` of one."""
        try:
            yield from blocks
        except ProcessFailedError as error:
            if "lock timeout" in error.stderr:
                raise self._snapshot.locked() from error
            if is_too_large(error):
                row = find_row(tables, pages, lambda command: drain(self._programs.copy(command)), self._reader())
                where = row or f"one of {', '.join(table.label for table in tables)}"
                raise SourceError(
                    f"{self._source.server.label} has a row that COPY cannot print, nor could pg_dump: {where}. As "
                    f"text, a row has {LIMIT} at most, and each byte of a bytea is two.",
                    "Divide this value, or keep it as a large object, which has no such limit. Until then, name the "
                    "table in `without_rows` of this source (sources.yaml): all else is backed up then, and the backup "
                    "says what it lacks. If nothing in it is that large, the row is damaged: see "
                    "recover_corrupted_database.",
                ) from error
            raise self._unreadable(error) from error

    def _unreadable(self, error: ProcessFailedError) -> SourceError:
        return SourceError(f"{self._source.server.label} could not be read to the end: {error}", remedy(error.stderr))

    def _rows_and_keys(self, stream: TableStream) -> tuple[int, str | None, str | None]:
        """Ask the server for the number of rows and, of a chunk, the range of its first key column.

        A search for rows skips chunks by it. The server has these pages at hand: counting newlines here would cost
        more. `verify` counts what arrived.
        """
        table = stream.table
        name = quoted(table.namespace, table.name)
        where = f" WHERE {page_range(stream.pages)}" if stream.pages else ""
        # in a database of no encoding a text may be none that the server gives us
        types = _ORDERED_KEY_TYPES | (_TEXT_KEY_TYPES if self._contents.server.encoding != "SQL_ASCII" else frozenset())
        if stream.pages and table.key and table.key_type in types:
            as_text = '::text COLLATE "C"' if table.key_type in _TEXT_KEY_TYPES else ""
            # OFFSET 0: else the planner answers max() by walking the index backwards, through all chunks after this one
            rows = f"(SELECT {quoted(table.key[0])}{as_text} AS key FROM ONLY {name}{where} OFFSET 0) chunk"
            query = f"SELECT count(*), textsend(min(key)::text), textsend(max(key)::text) FROM {rows}"
        else:
            query = f"SELECT count(*), NULL, NULL FROM ONLY {name}{where}"
        row = self._reader().execute(query.encode(self._codec)).fetchone()
        assert row is not None
        try:
            low, high = (None if key is None else key.decode(self._codec) for key in row[1:])
        except UnicodeDecodeError:  # the server's encodings have bytes that Python's have no character for
            return row[0], None, None
        return row[0], low, high

    def _reader(self) -> Connection[TupleRow]:
        """This thread's own connection that sees the snapshot."""
        if not hasattr(self._threads, "connection"):
            connection = self._snapshot.connect()
            self._open.callback(connection.close)
            self._threads.connection = connection
        found: Connection[TupleRow] = self._threads.connection
        return found

    def _manifest(self, written: list[Written]) -> Manifest:
        parts: dict[int, list[TablePart]] = {}
        for table, part in (pair for item in written for pair in item.parts):
            parts.setdefault(table.oid, []).append(part)
        return self._writer.manifest(
            "postgres",
            snapshot_at=self._snapshot.taken_at,
            tools={"postgres_clients": self._programs.clients.version},
            details=self._details().written(),
            objects=(item.item for item in written),
            tables=(_record(table, parts[table.oid]) for table in self._tables),
        )

    def _details(self) -> PostgresDetails:
        server = self._contents.server
        return PostgresDetails(
            server_version=server.version,
            server_version_number=server.version_number,
            system_identifier=server.system_identifier,
            snapshot_lsn=server.lsn,
            taken_from_standby=server.standby,
            unlogged=tuple((namespace, name) for namespace, name in server.unlogged),
            without_rows=tuple(
                (table.namespace, table.name)
                for table in self._contents.tables
                if table.label in self._source.without_rows
            ),
            excluded=self._contents.excluded,
            generated=tuple(self._generated),
            encoding=self._programs.encoding,
            python_codec=self._codec,
            large_objects=server.large_objects,
            large_object_digest=self._large_object_digest,
            sequences=len(self._contents.sequences),
            extensions=tuple(self._contents.extensions),
            roles=self._contents.roles,
            role_passwords=self._role_passwords,
            database=self._contents.properties,
        )


def _record(table: Table, parts: list[TablePart]) -> TableRecord:
    return TableRecord(
        namespace=table.namespace,
        name=table.name,
        kind=table.kind,
        columns=tuple(table.columns),
        condition=table.condition,
        key=tuple(table.key),
        access_method=table.access_method,
        root=table.target if table.root else None,
        parts=tuple(parts),
    )
