"""Copies of a backup in a directory: made for one restore, found again when their worker was killed, and removed."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup_playbook.core.errors import GuardError, RestoreError, UnequalError
from backup_playbook.core.model import Manifest, ObjectKind, StoredObject
from backup_playbook.core.progress import human_bytes
from backup_playbook.core.promotion import is_quarantine_name
from backup_playbook.core.proof import Proof, TableProof
from backup_playbook.engines.contract import WHOLE, CopyOptions, CopyServer, Room, ScratchTarget
from backup_playbook.engines.restore import timed
from backup_playbook.engines.scratch import SCRATCH_NAME, Scratch, scratch_name
from backup_playbook.repository.objects import BackupReader
from backup_playbook.streams.blocks import sha256_of, tap
from backup_playbook.streams.processes import Cancellation
from tests.support.example_engine.database import (
    SUFFIX,
    Database,
    Identity,
    Mark,
    read_tables,
    require_not_production,
    write_mark,
)
from tests.support.example_engine.dump import DEFINITIONS, REST, pieces, statements

SCRATCH = "scratch"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Directory:
    """See `engines.contract.CopyServer`. production: what is never written to or dropped; asked for before that."""

    path: Path
    production: Callable[[], Sequence[Identity]]

    def database(self, name: str) -> Database:
        return Database(self.path / f"{name}{SUFFIX}")

    def new_name(self, source: str, kept: str) -> str:
        return scratch_name(source)  # it gets the name that it keeps when it is proven

    def scratch(self, name: str, owner: str = "", options: CopyOptions = WHOLE) -> "SqliteScratch":
        return SqliteScratch(self, name, owner)

    def require_room(self, name: str, content_bytes: int) -> Room:
        if name and (not _NAME.fullmatch(name) or SCRATCH_NAME.fullmatch(name) or is_quarantine_name(name)):
            raise RestoreError(f"{name!r} cannot be the name of the new database.", "Nothing was done. Choose another.")
        if name and self.database(name).path.exists():
            raise RestoreError(f"There is a database {name} already in {self.path}.", "Choose another name.")
        free = shutil.disk_usage(self.path).free
        if free < content_bytes:
            needed = f"{self.path} has {human_bytes(free)} free, and a copy needs about {human_bytes(content_bytes)}."
            raise RestoreError(needed, "Nothing was touched. Add disk space.")
        return Room(str(self.path), free)

    def list_scratches(self) -> list[Scratch]:
        marks = (Database(path).mark(SCRATCH) for path in sorted(self.path.glob(f"scratch_*{SUFFIX}")))
        return [Scratch(one.name, one.source, one.backup_id, one.by, one.moment) for one in marks if one]

    def require_scratch(self, name: str) -> Database:
        """Raise GuardError when it is production, or no scratch of ours."""
        database = self.database(name)
        require_not_production(database, self.production())
        if database.mark(SCRATCH) is None:
            raise GuardError(f"The database {database.path} is not a scratch.", "Nothing was touched. Start a new run.")
        return database

    def drop(self, name: str) -> None:
        if self.database(name).path.exists():
            self.require_scratch(name).path.unlink()


@dataclass(frozen=True)
class SqliteScratch:
    """See `engines.contract.ScratchTarget`."""

    host: Directory
    name: str
    owner: str

    takes_applications = True

    @property
    def database(self) -> Database:
        return self.host.database(self.name)

    @property
    def label(self) -> str:
        return str(self.database.path)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database.path}"

    def create(self, manifest: Manifest) -> None:
        try:
            self.database.path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise RestoreError(f"{self.label} cannot be made: {error}.", "Start a new run.") from error
        at = datetime.now(UTC).isoformat()
        with self.database.open(RestoreError, writable=True) as session:
            write_mark(session, Mark(SCRATCH, self.name, manifest.source, manifest.backup_id, self.owner, at))

    def restore(self, reader: BackupReader, cancellation: Cancellation) -> dict[str, float]:
        return {"load": timed("load", lambda: self.load(reader, reader.manifest.objects, cancellation))}

    def load(self, reader: BackupReader, objects: Sequence[StoredObject], cancellation: Cancellation) -> None:
        """Run what these objects hold; nothing is committed before all were as they were backed up."""
        with self.host.require_scratch(self.name).open(RestoreError, writable=True) as session:
            session.execute("BEGIN IMMEDIATE")
            if read_tables(session):
                raise RestoreError(f"{self.label} is not empty.", "Start the restore again: it makes a new one.")
            for item in objects:
                cancellation.check()
                for statement in statements(tap(reader.content(item), lambda _: cancellation.check())):
                    session.execute(statement)
            session.execute("COMMIT")

    def prove(self, reader: BackupReader, cancellation: Cancellation) -> Proof:
        manifest = reader.manifest
        definitions = zip((DEFINITIONS, REST), reader.objects(ObjectKind.SCHEMA), strict=True)
        expected = {name: item.content_sha256 for name, item in definitions}
        expected |= {f"main.{table.name}": table.digest for table in manifest.tables}
        found = {}
        with self.database.open(RestoreError) as session:
            session.execute("BEGIN")
            for piece in pieces(session):
                found[piece.table.label if piece.table else piece.name] = sha256_of(
                    tap(piece.content, lambda _: cancellation.check())
                )
            [objects] = session.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        names = sorted(expected.keys() | found.keys())
        if problems := tuple(f"{name} differs." for name in names if expected.get(name) != found.get(name)):
            raise UnequalError(
                f"{self.label} is not equal to {manifest.source} {manifest.backup_id}: {' '.join(problems)}",
                "Restore it again; report it if it stays.",
                problems,
            )
        tables = tuple(TableProof("main", one.name, one.rows, one.bytes, "bytes") for one in manifest.tables)
        return Proof(tables, sequences=0, large_objects=0, schema_objects=objects, left_out=())

    def identify(self) -> str:
        return self.database.id

    def lacks_for_owners(self, reader: BackupReader) -> str:
        return ""  # there are none in a file

    def ask(self, query: str) -> Any:
        with self.database.open(RestoreError) as session:
            row = session.execute(query).fetchone()
        return row[0] if row else None

    def keep(self, name: str) -> None:
        if self.is_kept(name):
            return  # by an earlier try
        scratch, kept = self.host.require_scratch(self.name), self.host.database(name)
        if kept.path.exists():
            raise RestoreError(f"There is a database {name} already in {self.host.path}.", "Choose another name.")
        scratch.path.rename(kept.path)  # its mark stays, and says where it came from

    def is_kept(self, name: str) -> bool:
        return self.host.database(name).mark(SCRATCH, self.name) is not None

    def drop(self) -> None:
        self.host.drop(self.name)


if TYPE_CHECKING:
    _server: type[CopyServer] = Directory
    _scratch: type[ScratchTarget] = SqliteScratch
