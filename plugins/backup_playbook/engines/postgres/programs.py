"""psql and pg_dump as readers of a snapshot: rows, packs and archives as streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from backup_playbook.engines.postgres.clients import Clients
from backup_playbook.engines.postgres.connection import PostgresServer
from backup_playbook.engines.postgres.copy_commands import in_snapshot, pack_script, psql
from backup_playbook.engines.postgres.inventory import Table
from backup_playbook.engines.postgres.snapshot import Snapshot
from backup_playbook.streams import processes
from backup_playbook.streams.processes import Cancellation


@dataclass(frozen=True)
class SnapshotPrograms:
    """Client programs that see `snapshot`, and write text in `encoding`."""

    snapshot: Snapshot
    clients: Clients
    encoding: str
    cancellation: Cancellation

    @cached_property
    def environment(self) -> dict[str, str]:
        """Environment of every program."""
        return self.snapshot.server.environment(PGCLIENTENCODING=self.encoding)

    @property
    def codec(self) -> str:
        """Python's codec for names and commands."""
        return self.snapshot.connection.info.encoding

    def copy(self, command: str) -> Iterator[bytes]:
        """Output of a COPY ... TO STDOUT."""
        script = f"{in_snapshot(self.snapshot.id, self.snapshot.settings)}{command}"
        argv = [*self._psql, "-c", script.encode(self.codec)]
        return processes.output(argv, env=self.environment, cancellation=self.cancellation)

    def pack(self, tables: Iterable[Table]) -> Iterator[bytes]:
        """Rows of several tables, see `PackReader`."""
        script = pack_script(self.snapshot.id, tables, self.snapshot.settings).encode(self.codec)
        argv = [*self._psql, "-f", "-"]
        return processes.pipe([script], argv, env=self.environment, cancellation=self.cancellation)

    def archive(self, options: Sequence[str], server: PostgresServer | None = None) -> Iterator[bytes]:
        """Archive of pg_dump; server: another database, which the snapshot is not of."""
        of_snapshot = () if server else (f"--snapshot={self.snapshot.id}",)
        server = server or self.snapshot.server
        argv = [str(self.clients.pg_dump), "-w", f"--dbname={server.client_database}", *of_snapshot, *options]
        environment = server.environment(PGCLIENTENCODING=self.encoding, PGOPTIONS=self.snapshot.options)
        return processes.output(argv, env=environment, cancellation=self.cancellation)

    @cached_property
    def _psql(self) -> list[str | bytes]:
        return [*psql(self.clients.psql), f"--dbname={self.snapshot.server.client_database}"]
