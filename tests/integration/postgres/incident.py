"""A database that loses rows, its backup, and what is done to get them back."""

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows
from backup_playbook.engines.postgres.row_import import import_rows, preview_rows
from backup_playbook.engines.postgres.row_recovery import load_rows, wanted_rows
from backup_playbook.engines.postgres.scratch import ScratchDatabase
from embedded.postgres import PostgresServer
from tests.integration.postgres.lab import Lab, dump_text, server_of, source_of

CHUNK_BYTES = 128 << 10
CHAIN = """
CREATE TABLE link (id int PRIMARY KEY, before int REFERENCES link ON DELETE CASCADE, filler text,
                   label text GENERATED ALWAYS AS ('n' || id) STORED);
INSERT INTO link SELECT i, nullif(i - 1, 0), repeat('z', 100) FROM generate_series(1, 3000) i;
"""
"""Each row refers to the one before it."""
TWO = """
CREATE TABLE p (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE c (id serial PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, v text);
INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 9) i;
INSERT INTO c (p, v) SELECT id, 'c' FROM p;
"""


class Incident:
    """scratch: makes scratch databases, as the fixture of this name."""

    def __init__(
        self, lab: Lab, server: PostgresServer, name: str, scratch: Callable[..., ScratchDatabase], tmp_path: Path
    ) -> None:
        self.lab, self.server, self.name, self._scratch = lab, server, name, scratch
        self.undo_file = tmp_path / "undo.sql"
        self.live = server_of(server.dsn(name))
        self.manifest = lab.backup(source_of(server.dsn(name), chunk_bytes=CHUNK_BYTES))
        self.before = self.dump()

    def dump(self) -> list[str]:
        return sorted(dump_text(self.server, self.name, "--data-only", "--encoding=SQL_ASCII"))

    def do(self, command: str) -> None:
        with self.server.connect(self.name) as session:
            session.execute("SET client_encoding = 'UTF8'")
            session.execute(f"SET TRANSACTION READ WRITE; {command}".encode())

    def ask(self, query: str) -> list[Any]:
        with self.server.connect(self.name) as session:
            return session.execute(query.encode()).fetchall()

    def find(self, table: str, *keys: str, where: str = "", children: bool = True) -> ScratchDatabase:
        target = self._scratch(self.server)
        target.create(self.manifest)
        wanted = wanted_rows(self.live, table, keys, where, children=children)
        load_rows(self.live, target, self.lab.reader(self.manifest), wanted, self.lab.cancellation)
        self.found = target
        return target

    def preview(self, on_conflict: OnConflict = "stop") -> Preview:
        return preview_rows(self.live, self.found.server, on_conflict)

    def bring_back(self, on_conflict: OnConflict = "stop", *, fire_triggers: bool = False) -> RecoveredRows:
        preview = self.preview(on_conflict)
        return import_rows(
            self.live, self.found.server, preview, on_conflict, fire_triggers=fire_triggers, keep_undo=self._keep
        )

    def undo(self) -> None:
        argv = [self.server.bin_dir / "psql", "-X", "-q", "-d", self.server.dsn(self.name), "-f", self.undo_file]
        done = subprocess.run(argv, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr

    def _keep(self, script: bytes) -> str:
        self.undo_file.write_bytes(script)
        return str(self.undo_file)


def difference(one: list[str], other: list[str]) -> set[tuple[str, int]]:
    return set(Counter(one).items()) ^ set(Counter(other).items())
