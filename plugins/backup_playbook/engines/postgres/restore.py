"""Restore into an empty database: definitions, rows in parallel streams, indexes and constraints.

Rows become visible only after every byte that was read has been compared with the manifest.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path

import psycopg
from psycopg import Connection, Copy
from psycopg.rows import TupleRow

from backup_playbook.core.guards import DatabaseIdentity, require_not_production
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject, TableRecord
from backup_playbook.core.server_words import message
from backup_playbook.engines.postgres.archive import (
    REFRESH,
    is_event_trigger,
    is_left_out_sequence,
    post_data_steps,
    restore_options,
)
from backup_playbook.engines.postgres.connection import PostgresServer, identity
from backup_playbook.engines.postgres.copy_commands import copy_in
from backup_playbook.engines.postgres.database_properties import setting_statements
from backup_playbook.engines.postgres.details import PostgresDetails
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.leave_out import drop_checks
from backup_playbook.engines.postgres.pack_loader import PackLoader
from backup_playbook.engines.postgres.partial import read_part
from backup_playbook.engines.postgres.preflight import clients_for, require_empty
from backup_playbook.engines.postgres.refusals import explained
from backup_playbook.engines.postgres.rights import ALL_RIGHTS, require_rights, rights_of, unforce
from backup_playbook.engines.postgres.row_digests import keeps_order
from backup_playbook.engines.postgres.sequences import SEQUENCES_PER_QUERY, read_setval_lines
from backup_playbook.engines.postgres.session import known_to, libpq_options, set_statements
from backup_playbook.engines.postgres.statistics import analyze
from backup_playbook.engines.postgres.table_of_contents import Entry
from backup_playbook.engines.restore import timed
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams import processes
from backup_playbook.streams.blocks import Blocks, drain, withhold_last
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)

_SETTINGS: Mapping[str, str] = {
    "synchronous_commit": "off",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
}
# `streams` indexes are built at once: with parallel workers on top of that, the server needs a tenth more CPU time
_INDEX_SETTINGS: Mapping[str, str] = {"max_parallel_maintenance_workers": "0"}


@dataclass(frozen=True)
class RestoreOptions:
    """Options of a restore.

    streams: how many load rows, or build indexes, at once; each may use `maintenance_work_mem` on the server.
    owners: keep owners, grants, tablespaces and the settings of the database; the roles must exist.
    only, leave_out: see `partial.read_part`.
    """

    streams: int = 2
    owners: bool = False
    only: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    maintenance_work_mem: str = "256MB"


@dataclass
class Restore:
    """Restore of one backup into one database, which must be empty and none of `production`."""

    server: PostgresServer
    production: Sequence[DatabaseIdentity]
    reader: BackupReader
    options: RestoreOptions
    cancellation: Cancellation

    def __post_init__(self) -> None:
        self._manifest = self.reader.manifest
        self.server = replace(self.server, encoding=PostgresDetails.of(self._manifest).client_encoding)
        self.production = [*self.production, source_identity(self._manifest)]
        self._late: list[tuple[str, Callable[[], None]]] | None = None
        """Tables that were refused, and how to load them again; None: what is refused is an error."""

    def run(self) -> dict[str, float]:
        """Restore, and return seconds by phase. Raises as `engines.contract.Target.restore`."""
        with self._prepared() as holder:
            # what this role may not set, or this server does not know, is found out before hours of loading
            with holder.transaction(force_rollback=True):
                self._apply_settings(holder)
            log.info("%s: left out of the copy: %s.", self.server.label, ", ".join(self._part.left_out) or "nothing")
            return {name: timed(name, phase) for name, phase in (
                ("pre_data", self._pre_data), ("data", self._data), ("post_data", self._post_data),
            )}  # fmt: skip

    def define(self) -> None:
        """Restore the definitions alone, without a row."""
        with self._prepared():
            self._pre_data()
            entries = [one for one in self._contents("post-data") if one.kind != REFRESH]
            self._build(entries)
            self._create_event_triggers(entries)

    @contextmanager
    def _prepared(self) -> Iterator[Connection[TupleRow]]:
        with self._connect() as holder, tempfile.TemporaryDirectory(prefix="backup-playbook-") as directory:
            require_empty(holder, self.server.label)
            # the very server that was checked, and its database cannot be renamed while `holder` is connected
            self.server = self.server.reached_by(holder)
            self._clients = clients_for(self._manifest, holder.info.server_version // 10_000)
            self._schema = Path(directory) / "schema.dump"
            # a copy that may go live is complete, or there is none
            self._rights = ALL_RIGHTS if self.options.owners else rights_of(holder)
            self._part = read_part(self.reader, self.options.only, self.options.leave_out, self._rights)
            if self.options.owners:
                require_rights(holder, self._part.definitions(owners=True), self._codec, self.server.label)
            yield holder

    def _pre_data(self) -> None:
        (item,) = self.reader.objects(ObjectKind.SCHEMA)
        with self._schema.open("wb") as file:
            file.writelines(self.reader.content(item))
        self._define("The definitions", self._contents("pre-data"), 1)
        with self._loading("The definitions") as connection:
            drop_checks(connection, self._part.checks)
            if not self._rights.sees_all_rows:
                unforce(connection)

    def _data(self) -> None:
        streamed = {item.name for item in self.reader.objects(ObjectKind.TABLE)}
        wanted = [table for table in self._manifest.tables if self._part.has_rows_of(table)]
        tables = [table for table in wanted if table.parts[0].object in streamed]
        needed = {part.object for table in wanted for part in table.parts}
        packs = [item for item in self.reader.objects(ObjectKind.PACK) if item.name in needed]
        # tables of extensions have their foreign keys already: their order counts; values of their types may need them
        parts = self._manifest.parts_by_object
        first = [pack for pack in packs if any(table.kind == "extension" for table, _ in parts[pack.name])]
        large_objects = self.reader.objects(ObjectKind.LARGE_OBJECTS) if self._part.whole else []
        needed |= {item.name for item in large_objects}
        total = sum(item.content_bytes for item in self._manifest.objects if item.name in needed)
        with Progress(self.server.database, total) as self._progress:
            self._late = []
            for pack in first:
                self._load_pack(pack)
            jobs = [Job(table.bytes, partial(self._load_table, table)) for table in tables]
            jobs += [Job(pack.content_bytes, partial(self._load_pack, pack)) for pack in packs if pack not in first]
            jobs += [Job(item.content_bytes, partial(self._load_large_objects, item)) for item in large_objects]
            run_jobs(jobs, self.options.streams, self.cancellation)
            self._load_late()
        self._set_sequences()

    def _post_data(self) -> None:
        entries = self._contents("post-data")
        self._build(entries)
        with self._connect() as connection:
            self._apply_settings(connection)
        connect = partial(self._loading, "The planner's statistics")
        analyze(connect, self._codec, self.options.streams, self.cancellation)
        self._create_event_triggers(entries)

    def _build(self, entries: Sequence[Entry]) -> None:
        for step, parallel in post_data_steps(entries):
            self._define("Indexes or constraints", step, self.options.streams if parallel else 1)

    def _create_event_triggers(self, entries: Sequence[Entry]) -> None:
        """Create event triggers, at the very end: one of `login` fires for every connection."""
        self._define("Event triggers", [one for one in entries if is_event_trigger(one)], 1)

    def _apply_settings(self, connection: Connection[TupleRow]) -> None:
        if self.options.owners:
            with explained(f"The settings of {self.server.label} could not be applied"):
                name = quoted(self.server.database)
                for statement in setting_statements(PostgresDetails.of(self._manifest).database, name):
                    connection.execute(statement.encode(connection.info.encoding))

    # the kinds of stream

    def _load_table(self, table: TableRecord) -> None:
        items = {item.name: item for item in self.reader.objects(ObjectKind.TABLE)}
        with self._loading(f"{table.namespace}.{table.name}") as connection:
            try:
                with self._copying(connection, table) as copy:
                    for part in table.parts:
                        for block in self._content(items[part.object]):
                            copy.write(block)
            except psycopg.Error as error:
                self._refused(partial(self._load_table, table), table, error)

    def _load_pack(self, item: StoredObject, only: TableRecord | None = None) -> None:
        def refused(table: TableRecord, error: psycopg.Error) -> None:
            self._refused(partial(self._load_pack, item, table), table, error)

        def wanted(table: TableRecord) -> bool:
            return self._part.has_rows_of(table) and only in (None, table)

        with self._loading(item.name) as connection, ExitStack() as stack:
            parts = self._manifest.parts_by_object[item.name]
            loader = PackLoader(parts, stack, wanted, partial(self._copying, connection), refused, self._codec)
            for block in self._content(item):
                loader.update(block)
            loader.finish()

    def _refused(self, again: Callable[[], None], table: TableRecord, error: psycopg.Error) -> None:
        """Put a table off until all others are loaded: its check may read them."""
        if self._late is None or isinstance(error, psycopg.OperationalError):
            raise error
        said = message(error.diag.message_primary or "", error.sqlstate)
        log.info("%s.%s is tried again after all others: %s", table.namespace, table.name, said)
        self._late.append((f"{table.namespace}.{table.name}", again))

    def _load_late(self) -> None:
        """Load what was put off, by name as pg_restore does; again while fewer are left than before."""
        waiting, before = self._late or [], 0
        while waiting:
            self._late = None if len(waiting) == before else []
            before = len(waiting)
            for _, load in sorted(waiting, key=itemgetter(0)):
                load()
            waiting = self._late or []

    def _load_large_objects(self, item: StoredObject) -> None:
        # in one transaction, the server would hold a lock for each; clients before 17 have one transaction for each
        words = ["--transaction-size=100"] if self._clients.major >= 17 else []
        self._pg_restore("The large objects", *words, stdin=withhold_last(self._content(item)))

    def _set_sequences(self) -> None:
        for item in self.reader.objects(ObjectKind.SEQUENCES):
            text = b"".join(self.reader.content(item)).decode(self._codec)
            statements = [
                line for name, line in read_setval_lines(text).items() if not is_left_out_sequence(name, self._manifest)
            ]
            with self._loading("sequences") as connection, connection.transaction():
                for start in range(0, len(statements), SEQUENCES_PER_QUERY):
                    batch = "".join(statements[start : start + SEQUENCES_PER_QUERY])
                    connection.execute(batch.encode(self._codec))

    # helpers

    def _contents(self, section: str) -> list[Entry]:
        return [one for one in self._part.definitions(owners=self.options.owners) if one.section == section]

    def _define(self, what: str, entries: Sequence[Entry], jobs: int) -> None:
        if entries:
            wanted = self._schema.with_name("wanted")
            wanted.write_text("".join(f"{one.number};\n" for one in entries))
            words = (f"--jobs={jobs}", f"--use-list={wanted}", str(self._schema))
            self._pg_restore(what, *words, entries=entries)

    @property
    def _codec(self) -> str:
        return PostgresDetails.of(self._manifest).python_codec

    def _content(self, item: StoredObject) -> Iterator[bytes]:
        for block in self._progress.track(self.reader.content(item), item.content_bytes):
            self.cancellation.check()
            yield block

    @contextmanager
    def _copying(self, connection: Connection[TupleRow], table: TableRecord) -> Iterator[Copy]:
        """Take rows in one transaction, which is committed at the end of the block."""
        with connection.transaction():
            # A table that was emptied in the same transaction takes rows in their order. Else Postgres would put short
            # ones into what room is left on earlier pages. And only such a table takes them frozen, which saves
            # whoever reads it first from writing every page again.
            emptied = keeps_order(table)
            if emptied:
                connection.execute(f"TRUNCATE ONLY {quoted(*table.target)}".encode(self._codec))
            command = copy_in(table, PostgresDetails.of(self._manifest).encoding, frozen=emptied)
            with connection.cursor().copy(command.encode(self._codec)) as copy:
                yield copy

    @contextmanager
    def _connect(self) -> Iterator[Connection[TupleRow]]:
        """Connect past the guard: what this connection writes goes nowhere else."""
        connection = self.server.connect(autocommit=True)
        with connection:
            found = identity(connection)
            assert found is not None
            require_not_production(found, self.production)
            yield connection

    @contextmanager
    def _loading(self, what: str) -> Iterator[Connection[TupleRow]]:
        """Open a session with the settings of those that copied out; each statement commits by itself."""
        with explained(f"{what} could not be loaded into {self.server.label}"), self._connect() as connection:
            connection.execute(set_statements({**known_to(connection.info.server_version), **_SETTINGS}).encode())
            yield connection

    def _pg_restore(self, what: str, *words: str, entries: Sequence[Entry] = (), stdin: Blocks = ()) -> None:
        memory = {"maintenance_work_mem": self.options.maintenance_work_mem}
        settings = libpq_options({**_SETTINGS, **_INDEX_SETTINGS, **memory})
        options = f"{self.server.keywords.get('options', '')} {settings}".strip()
        environment = self.server.environment(PGOPTIONS=options)
        argv = [str(self._clients.pg_restore), "-w", "--exit-on-error", f"--dbname={self.server.client_database}"]
        argv += [*restore_options(owners=self.options.owners), *words]
        with explained(f"{what} could not be restored into {self.server.label}", entries, self._codec):
            drain(processes.pipe(stdin, argv, env=environment, cancellation=self.cancellation))


def source_identity(manifest: Manifest) -> DatabaseIdentity:
    """Identity of the database that was backed up: no copy of it ever goes there."""
    details = PostgresDetails.of(manifest)
    return DatabaseIdentity(details.system_identifier, int(details.database["oid"]), details.database_name)
