"""A backup into an empty database: definitions, rows in parallel streams, indexes and constraints.

Rows become visible only after every byte that was read has been compared with the manifest (DESIGN section 5).
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
from backup_playbook.engines.postgres.encodings import of_backup
from backup_playbook.engines.postgres.inventory import quoted
from backup_playbook.engines.postgres.leave_out import drop_checks
from backup_playbook.engines.postgres.pack_loader import PackLoader
from backup_playbook.engines.postgres.partial import read_part
from backup_playbook.engines.postgres.preflight import clients_for, require_empty
from backup_playbook.engines.postgres.refusals import explained
from backup_playbook.engines.postgres.rights import ALL_RIGHTS, require_rights, rights_of, unforce
from backup_playbook.engines.postgres.row_digests import keeps_order
from backup_playbook.engines.postgres.sequences import read_setval_lines
from backup_playbook.engines.postgres.session import known_to, libpq_options, set_statements
from backup_playbook.engines.postgres.table_of_contents import Entry
from backup_playbook.engines.restore import timed
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams import processes
from backup_playbook.streams.blocks import Blocks, drain, withhold_last
from backup_playbook.streams.parallel import Job, run_jobs
from backup_playbook.streams.processes import Cancellation
from backup_playbook.streams.progress import Progress

log = logging.getLogger(__name__)

SEQUENCES_PER_QUERY = 200
_SETTINGS: Mapping[str, str] = {
    "synchronous_commit": "off",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
}
# partitioned tables come last: theirs need what is in their partitions
_ANALYZED = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.relkind = 'p', 1
"""
# `streams` indexes are built at once: with parallel workers on top of that, the server needs a tenth more CPU time
_INDEX_SETTINGS: Mapping[str, str] = {"max_parallel_maintenance_workers": "0"}


@dataclass(frozen=True)
class RestoreOptions:
    """streams: how many load rows, or build indexes, at once; each may use `maintenance_work_mem` on the server.

    owners: keep owners, grants, tablespaces and the settings of the database; the roles must exist.
    only: the rows of these schemas and tables only; leave_out: definitions that the copy goes without; see
    `partial.read_part`.
    """

    streams: int = 2
    owners: bool = False
    only: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    maintenance_work_mem: str = "256MB"


class Restore:
    """One backup into one database, which must be empty and none of `production`."""

    def __init__(
        self,
        server: PostgresServer,
        production: Sequence[DatabaseIdentity],
        reader: BackupReader,
        options: RestoreOptions,
        cancellation: Cancellation,
    ) -> None:
        self._server, self._options = replace(server, encoding=of_backup(reader.manifest.details)), options
        self._reader, self._manifest = reader, reader.manifest
        self._production = [*production, source_identity(reader.manifest)]
        self._cancellation = cancellation
        self._late: list[tuple[str, Callable[[], None]]] | None = None
        """Tables that were refused, and how to load them again; None: what is refused is an error."""

    def run(self) -> dict[str, float]:
        """Seconds by phase. Raises as `engines.contract.Target.restore`."""
        with self._prepared() as holder:
            # what this role may not set, or this server does not know, is found out before hours of loading
            with holder.transaction(force_rollback=True):
                self._apply_settings(holder)
            log.info("%s: left out of the copy: %s.", self._server.label, ", ".join(self._part.left_out) or "nothing")
            return {name: timed(name, phase) for name, phase in (
                ("pre_data", self._pre_data), ("data", self._data), ("post_data", self._post_data),
            )}  # fmt: skip

    def define(self) -> None:
        """The definitions alone, without a row."""
        with self._prepared():
            self._pre_data()
            entries = [one for one in self._contents("post-data") if one.kind != REFRESH]
            self._build(entries)
            self._create_event_triggers(entries)

    @contextmanager
    def _prepared(self) -> Iterator[Connection[TupleRow]]:
        with self._connect() as holder, tempfile.TemporaryDirectory(prefix="backup-playbook-") as directory:
            require_empty(holder, self._server.label)
            # the very server that was checked, and its database cannot be renamed while `holder` is connected
            self._server = self._server.reached_by(holder)
            self._clients = clients_for(self._manifest, holder.info.server_version // 10_000)
            self._schema = Path(directory) / "schema.dump"
            # a copy that may go live is complete, or there is none
            self._rights = ALL_RIGHTS if self._options.owners else rights_of(holder)
            self._part = read_part(self._reader, self._options.only, self._options.leave_out, self._rights)
            if self._options.owners:
                require_rights(holder, self._part.definitions(owners=True), self._codec, self._server.label)
            yield holder

    def _pre_data(self) -> None:
        (item,) = self._reader.objects(ObjectKind.SCHEMA)
        with self._schema.open("wb") as file:
            file.writelines(self._reader.content(item))
        self._define("The definitions", self._contents("pre-data"), 1)
        with self._loading("The definitions") as connection:
            drop_checks(connection, self._part.checks)
            if not self._rights.sees_all_rows:
                unforce(connection)

    def _data(self) -> None:
        streamed = {item.name for item in self._reader.objects(ObjectKind.TABLE)}
        wanted = [table for table in self._manifest.tables if self._part.has_rows_of(table)]
        tables = [table for table in wanted if table.parts[0].object in streamed]
        needed = {part.object for table in wanted for part in table.parts}
        packs = [item for item in self._reader.objects(ObjectKind.PACK) if item.name in needed]
        # tables of extensions have their foreign keys already: their order counts; values of their types may need them
        first = [pack for pack in packs if self._has_extension_tables(pack)]
        large_objects = self._reader.objects(ObjectKind.LARGE_OBJECTS) if self._part.whole else []
        needed |= {item.name for item in large_objects}
        total = sum(item.content_bytes for item in self._manifest.objects if item.name in needed)
        with Progress(self._server.database, total) as self._progress:
            self._late = []
            for pack in first:
                self._load_pack(pack)
            jobs = [Job(table.bytes, partial(self._load_table, table)) for table in tables]
            jobs += [Job(pack.content_bytes, partial(self._load_pack, pack)) for pack in packs if pack not in first]
            jobs += [Job(item.content_bytes, partial(self._load_large_objects, item)) for item in large_objects]
            run_jobs(jobs, self._options.streams, self._cancellation)
            self._load_late()
        self._set_sequences()

    def _post_data(self) -> None:
        entries = self._contents("post-data")
        self._build(entries)
        with self._connect() as connection:
            self._apply_settings(connection)
        self._analyze()
        self._create_event_triggers(entries)

    def _build(self, entries: Sequence[Entry]) -> None:
        for step, parallel in post_data_steps(entries):
            self._define("Indexes or constraints", step, self._options.streams if parallel else 1)

    def _create_event_triggers(self, entries: Sequence[Entry]) -> None:
        """At the very end: one of `login` fires for every connection."""
        self._define("Event triggers", [one for one in entries if is_event_trigger(one)], 1)

    def _analyze(self) -> None:
        """No backup holds what the planner knows of its tables, and a copy that goes live without is slow at once."""
        with self._loading("The planner's statistics") as connection:
            try:
                connection.execute("ANALYZE")
            except psycopg.Error as error:  # such as of a foreign table, or a function in an index
                log.info("One table after the other: %s", error)
                self._analyze_each(connection)

    def _analyze_each(self, connection: Connection[TupleRow]) -> None:
        for (table,) in connection.execute(_ANALYZED).fetchall():
            try:
                connection.execute(f"ANALYZE {table}".encode(self._codec))
            except psycopg.Error as error:
                log.warning(
                    "The planner knows nothing of %s, which is restored all the same: %s ANALYZE it when this is "
                    "corrected.", table, error,
                )  # fmt: skip

    def _apply_settings(self, connection: Connection[TupleRow]) -> None:
        if self._options.owners:
            with explained(f"The settings of {self._server.label} could not be applied"):
                statements = setting_statements(self._manifest.details["database"], quoted(self._server.database))
                for statement in statements:
                    connection.execute(statement.encode(connection.info.encoding))

    # the kinds of stream

    def _load_table(self, table: TableRecord) -> None:
        items = {item.name: item for item in self._reader.objects(ObjectKind.TABLE)}
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
        """A check may read tables that come later, or that other streams load: it gets another try after them."""
        if self._late is None or isinstance(error, psycopg.OperationalError):
            raise error
        said = message(error.diag.message_primary or "", error.sqlstate)
        log.info("%s.%s is tried again after all others: %s", table.namespace, table.name, said)
        self._late.append((f"{table.namespace}.{table.name}", again))

    def _load_late(self) -> None:
        """In the order of names, as pg_restore has them; again while fewer are left than before."""
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
        for item in self._reader.objects(ObjectKind.SEQUENCES):
            text = b"".join(self._reader.content(item)).decode(self._codec)
            statements = [
                line for name, line in read_setval_lines(text).items() if not is_left_out_sequence(name, self._manifest)
            ]
            with self._loading("sequences") as connection, connection.transaction():
                for start in range(0, len(statements), SEQUENCES_PER_QUERY):
                    batch = "".join(statements[start : start + SEQUENCES_PER_QUERY])
                    connection.execute(batch.encode(self._codec))

    # helpers

    def _contents(self, section: str) -> list[Entry]:
        return [one for one in self._part.definitions(owners=self._options.owners) if one.section == section]

    def _define(self, what: str, entries: Sequence[Entry], jobs: int) -> None:
        if entries:
            wanted = self._schema.with_name("wanted")
            wanted.write_text("".join(f"{one.number};\n" for one in entries))
            words = (f"--jobs={jobs}", f"--use-list={wanted}", str(self._schema))
            self._pg_restore(what, *words, entries=entries)

    @property
    def _codec(self) -> str:
        return str(self._manifest.details["python_codec"])

    def _content(self, item: StoredObject) -> Iterator[bytes]:
        for block in self._progress.track(self._reader.content(item), item.content_bytes):
            self._cancellation.check()
            yield block

    def _has_extension_tables(self, item: StoredObject) -> bool:
        return any(table.kind == "extension" for table, _ in self._manifest.parts_by_object[item.name])

    @contextmanager
    def _copying(self, connection: Connection[TupleRow], table: TableRecord) -> Iterator[Copy]:
        """Rows that are written come in one transaction, which ends well with the block."""
        with connection.transaction():
            # A table that was emptied in the same transaction takes rows in their order. Else Postgres would put short
            # ones into what room is left on earlier pages. And only such a table takes them frozen, which saves
            # whoever reads it first from writing every page again.
            emptied = keeps_order(table)
            if emptied:
                connection.execute(f"TRUNCATE ONLY {quoted(*table.target)}".encode(self._codec))
            command = copy_in(table, self._manifest.details["encoding"], frozen=emptied)
            with connection.cursor().copy(command.encode(self._codec)) as copy:
                yield copy

    @contextmanager
    def _connect(self) -> Iterator[Connection[TupleRow]]:
        """A connection that has passed the guard itself: what it writes goes nowhere else."""
        connection = self._server.connect(autocommit=True)
        with connection:
            found = identity(connection)
            assert found is not None
            require_not_production(found, self._production)
            yield connection

    @contextmanager
    def _loading(self, what: str) -> Iterator[Connection[TupleRow]]:
        """A session as those that copied out had it; each statement commits by itself."""
        with explained(f"{what} could not be loaded into {self._server.label}"), self._connect() as connection:
            connection.execute(set_statements({**known_to(connection.info.server_version), **_SETTINGS}).encode())
            yield connection

    def _pg_restore(self, what: str, *words: str, entries: Sequence[Entry] = (), stdin: Blocks | None = None) -> None:
        memory = {"maintenance_work_mem": self._options.maintenance_work_mem}
        settings = libpq_options({**_SETTINGS, **_INDEX_SETTINGS, **memory})
        options = f"{self._server.keywords.get('options', '')} {settings}".strip()
        environment = self._server.environment(PGOPTIONS=options)
        argv = [str(self._clients.pg_restore), "-w", "--exit-on-error", f"--dbname={self._server.client_database}"]
        argv += [*restore_options(owners=self._options.owners), *words]
        with explained(f"{what} could not be restored into {self._server.label}", entries, self._codec):
            if stdin is None:
                drain(processes.output(argv, env=environment, cancellation=self._cancellation))
            else:
                drain(processes.pipe(stdin, argv, env=environment, cancellation=self._cancellation))


def source_identity(manifest: Manifest) -> DatabaseIdentity:
    """The database that was backed up: a copy of it never goes there, whatever the configuration says."""
    details = manifest.details
    return DatabaseIdentity(
        details["system_identifier"], int(details["database"]["oid"]), details["database"]["datname"]
    )
